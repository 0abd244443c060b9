# The demo is a library of its own, so that a test can drive it without the rest of the program.
holdfast_library(demo
  SOURCES ${CMAKE_CURRENT_LIST_DIR}/demo.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_proxy.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_report.cpp
          ${CMAKE_CURRENT_LIST_DIR}/demo_stage.cpp ${CMAKE_CURRENT_LIST_DIR}/demo_view.cpp
  PUBLIC holdfast_workload)
