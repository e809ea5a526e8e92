#pragma once

#include <string_view>

namespace rcb::agent {

/// The page at /: HTML with all that it needs, which asks for /status by itself.
std::string_view StatusPage();

}  // namespace rcb::agent
