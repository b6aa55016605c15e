# ts_folder(NAME [libraries...]): the static library ts_NAME from every .c file of the current folder (and its prim/ etc.
# subfolders), linked against the given libraries. Adding a source file needs no edit here.
function(ts_folder name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.c)
  if(NOT sources)
    return()
  endif()
  add_library(ts_${name} STATIC ${sources})
  target_include_directories(ts_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
  target_link_libraries(ts_${name} PUBLIC ${ARGN})
endfunction()

# ts_test(NAME SOURCE LABEL libraries...): a test program, registered with CTest under LABEL.
function(ts_test name source label)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 900
    ENVIRONMENT "TUNESMITH_HOME=${CMAKE_SOURCE_DIR};TS_QUIET=1")
endfunction()
