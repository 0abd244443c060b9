# Helpers that every folder uses: one library a folder, one unit test program a folder.

find_program(CCACHE ccache)
if(CCACHE)
  # Precompiled headers are cached only with these two laxities (ccache manual, "Precompiled headers"). What one checkout has compiled
  # serves every other ("Compiling in different directories").
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)

add_library(holdfast_options INTERFACE)
target_include_directories(holdfast_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(holdfast_options INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  target_compile_options(holdfast_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  # Sign conversions are GCC's to judge: clang warns of more of them in system macros.
  target_compile_options(holdfast_options INTERFACE -Wno-sign-conversion -Wno-shorten-64-to-32)
endif()

# Asio and Beast, compiled once (BOOST_ASIO_SEPARATE_COMPILATION), and one precompiled header for all that use them.
if(NOT HOLDFAST_SANS_IO_ONLY)
  find_package(Boost 1.81 REQUIRED COMPONENTS json)
  find_package(spdlog REQUIRED)
  add_library(holdfast_asio STATIC ${PROJECT_SOURCE_DIR}/cmake/asio.cpp)
  target_compile_definitions(holdfast_asio PUBLIC
    BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION)
  target_link_libraries(holdfast_asio PUBLIC Boost::headers OpenSSL::SSL Threads::Threads spdlog::spdlog
                                      PRIVATE holdfast_options)
  # GCC 12 takes the coroutine frames of Asio, whose operators new and delete are both its own, for mismatched.
  target_compile_options(holdfast_asio PUBLIC $<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>)
  target_precompile_headers(holdfast_asio PRIVATE
    <boost/asio.hpp> <boost/asio/ssl.hpp> <spdlog/spdlog.h> <chrono> <functional> <map> <memory> <optional> <span>
    <string> <string_view> <system_error> <variant> <vector>)
endif()

# Targets that name holdfast_asio share its precompiled header.
function(holdfast_share_header target)
  if("holdfast_asio" IN_LIST ARGN)
    target_precompile_headers(${target} REUSE_FROM holdfast_asio)
  endif()
endfunction()

# holdfast_library(NAME [SOURCES …] [PUBLIC …] [PRIVATE …])
function(holdfast_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(holdfast_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(holdfast_${name} PUBLIC ${ARG_PUBLIC} PRIVATE holdfast_options ${ARG_PRIVATE})
  holdfast_share_header(holdfast_${name} ${ARG_PUBLIC} ${ARG_PRIVATE})
endfunction()

# holdfast_mutable_library(NAME): holdfast_NAME_mutable, the same library with rules that can be switched off, for
# tests/simulation/mutations (proxy/mutation.hpp).
function(holdfast_mutable_library name)
  get_target_property(sources holdfast_${name} SOURCES)
  get_target_property(libraries holdfast_${name} INTERFACE_LINK_LIBRARIES)
  holdfast_library(${name}_mutable SOURCES ${sources} PUBLIC ${libraries})
  target_compile_definitions(holdfast_${name}_mutable PUBLIC HOLDFAST_MUTATIONS)
  set_target_properties(holdfast_${name}_mutable PROPERTIES EXCLUDE_FROM_ALL ON)
endfunction()

# holdfast_unit_test(NAME [SOURCES …] [LIBRARIES …]): one GoogleTest program, one ctest entry for each case.
function(holdfast_unit_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${name}_test ${ARG_SOURCES})
  target_link_libraries(${name}_test PRIVATE holdfast_options GTest::gtest GTest::gmock GTest::gtest_main ${ARG_LIBRARIES})
  holdfast_share_header(${name}_test ${ARG_LIBRARIES})
  gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
                       PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT 120)
endfunction()

# holdfast_fuzzer(NAME [DICTIONARY …] [SOURCES …] [LIBRARIES …]): a libFuzzer program; ctest runs its corpus and some
# seconds more, always from the same seed: what only luck finds is for `./test --long` to find.
function(holdfast_fuzzer name)
  cmake_parse_arguments(ARG "" "DICTIONARY" "SOURCES;LIBRARIES" ${ARGN})
  add_executable(${name}_fuzz ${ARG_SOURCES})
  target_link_options(${name}_fuzz PRIVATE -fsanitize=fuzzer,address,undefined)
  target_link_libraries(${name}_fuzz PRIVATE holdfast_options ${ARG_LIBRARIES})
  set(corpus ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
  set(found ${CMAKE_BINARY_DIR}/corpus/${name})
  file(MAKE_DIRECTORY ${corpus} ${found})
  set(dictionary)
  if(ARG_DICTIONARY)
    set(dictionary -dict=${ARG_DICTIONARY})
  endif()
  add_test(NAME fuzz.${name} COMMAND ${name}_fuzz -seed=1 -max_total_time=10 -max_len=8192 -timeout=5 ${dictionary} ${found} ${corpus})
  set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 60)
endfunction()

# holdfast_embed(TARGET NAME FILE): the target's function holdfast::admin::NAME() gives the bytes of FILE.
function(holdfast_embed target name file)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  set(script ${PROJECT_SOURCE_DIR}/cmake/embed.cmake)
  add_custom_command(OUTPUT ${source} DEPENDS ${file} ${script} VERBATIM
    COMMAND ${CMAKE_COMMAND} -DFILE=${file} -DNAME=${name} -DOUT=${source} -P ${script})
  set_source_files_properties(${source} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
  target_sources(${target} PRIVATE ${source})
endfunction()
