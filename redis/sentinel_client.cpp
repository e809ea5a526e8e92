#include "redis/sentinel_client.h"
