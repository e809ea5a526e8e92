#include "redis/endpoint.h"
