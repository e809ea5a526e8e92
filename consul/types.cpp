#include "consul/types.h"
