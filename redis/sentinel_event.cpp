#include "redis/sentinel_event.h"
