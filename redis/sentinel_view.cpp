#include "redis/sentinel_view.h"
