#include "consul/http_transport.h"
