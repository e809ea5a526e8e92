#include "redis/instance_client.h"
