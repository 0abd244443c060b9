// The HTTP types that the files of this folder share. Not for other folders: Beast stays in here.
#pragma once

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "proxy/task.hpp"

namespace holdfast::admin {

namespace beast = boost::beast;
namespace http = beast::http;

using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

}  // namespace holdfast::admin
