#include "consul/requests.h"
