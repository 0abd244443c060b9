set(here ${CMAKE_CURRENT_LIST_DIR})
find_package(bson-1.0 REQUIRED)
holdfast_unit_test(mongo_codec
                   SOURCES ${here}/mongo_document_test.cpp ${here}/mongo_frame_test.cpp ${here}/mongo_command_test.cpp
                           ${here}/mongo_hello_test.cpp ${here}/mongo_reply_test.cpp ${here}/mongo_projection_test.cpp ${here}/mongo_capability_test.cpp
                           ${here}/mongo_several_test.cpp ${here}/mongo_json.cpp
                   LIBRARIES holdfast_mongo_codec mongo::bson_shared)
holdfast_unit_test(mongo_compression SOURCES ${here}/mongo_compression_test.cpp LIBRARIES holdfast_mongo_compression)
