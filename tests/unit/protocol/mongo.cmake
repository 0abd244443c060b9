set(here ${CMAKE_CURRENT_LIST_DIR})
holdfast_unit_test(mongo_codec
                   SOURCES ${here}/mongo_document_test.cpp ${here}/mongo_frame_test.cpp ${here}/mongo_command_test.cpp
                           ${here}/mongo_hello_test.cpp ${here}/mongo_reply_test.cpp ${here}/mongo_capability_test.cpp
                   LIBRARIES holdfast_mongo_codec)
holdfast_unit_test(mongo_compression SOURCES ${here}/mongo_compression_test.cpp LIBRARIES holdfast_mongo_compression)
