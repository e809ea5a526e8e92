#include "redis/sentinel_election.h"
