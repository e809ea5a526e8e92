#include "redis/replication_info.h"
