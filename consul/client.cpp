#include "consul/client.h"
