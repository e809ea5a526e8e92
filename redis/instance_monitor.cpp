#include "redis/instance_monitor.h"
