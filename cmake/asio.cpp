// The one translation unit that holds the code of Asio, its TLS part and Beast
// (BOOST_ASIO_SEPARATE_COMPILATION); everything else sees declarations only.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
#include <boost/beast/src.hpp>
