# The only user of libbson.
find_package(bson-1.0 REQUIRED)
holdfast_library(mongo_codec
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/document.cpp ${CMAKE_CURRENT_LIST_DIR}/frame.cpp ${CMAKE_CURRENT_LIST_DIR}/hello.cpp
          ${CMAKE_CURRENT_LIST_DIR}/command.cpp ${CMAKE_CURRENT_LIST_DIR}/reply.cpp ${CMAKE_CURRENT_LIST_DIR}/projection.cpp ${CMAKE_CURRENT_LIST_DIR}/several.cpp
          ${CMAKE_CURRENT_LIST_DIR}/capability.cpp
  PRIVATE mongo::bson_shared)

# The only user of the libraries that compress.
find_package(ZLIB REQUIRED)
find_package(zstd REQUIRED)
find_package(Snappy REQUIRED)
holdfast_library(mongo_compression SOURCES ${CMAKE_CURRENT_LIST_DIR}/compression.cpp
  PUBLIC holdfast_mongo_codec PRIVATE ZLIB::ZLIB zstd::libzstd_shared Snappy::snappy)
