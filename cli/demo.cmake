# The demo is a library of its own, so that a test can drive it without the rest of the program.
holdfast_library(demo
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/demo.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_postgres.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_proxy.cpp
          ${CMAKE_CURRENT_LIST_DIR}/demo_report.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_stage.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_view.cpp
  PUBLIC holdfast_workload)

# The demo of MongoDB is a program of its own: holdfast itself is linked without libmongoc (docs/decisions/0015).
add_executable(holdfast-demo-mongodb ${CMAKE_CURRENT_LIST_DIR}/demo_mongo.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_mongo_main.cpp)
target_link_libraries(holdfast-demo-mongodb PRIVATE holdfast_options holdfast_demo holdfast_mongo_workload)
