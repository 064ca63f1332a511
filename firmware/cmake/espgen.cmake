# espgen_compile(<model.onnx> <component folder> [options of `espgen compile`])
#
# Compiles a model into a component when CMake configures, and configures again when the model file changes. In an ESP-IDF
# project, call it before project(), with the component folder below one that EXTRA_COMPONENT_DIRS names:
#
#   include(${CMAKE_CURRENT_LIST_DIR}/espgen.cmake)  # a copy of this file
#   espgen_compile(${CMAKE_CURRENT_LIST_DIR}/model.onnx ${CMAKE_CURRENT_LIST_DIR}/components/model)
#   include($ENV{IDF_PATH}/tools/cmake/project.cmake)
#   project(my_application)
#
# The component folder holds what espgen wrote and nothing else; the options of the last time lie in the build folder.
# The command is `espgen`, or what the variable ESPGEN_COMMAND names (a list: program and first arguments).
function(espgen_compile model folder)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${model}")
  set(stamp "${folder}/espgen_component.json")
  string(MD5 key "${folder}")
  set(options_file "${CMAKE_BINARY_DIR}/espgen_options_${key}.txt")
  set(options "${ARGN}")
  set(previous "")
  if(EXISTS "${options_file}")
    file(READ "${options_file}" previous)
  endif()
  if(EXISTS "${stamp}" AND NOT "${model}" IS_NEWER_THAN "${stamp}" AND previous STREQUAL options)
    return()
  endif()
  if(NOT ESPGEN_COMMAND)
    set(ESPGEN_COMMAND espgen)
  endif()
  file(REMOVE "${folder}/espgen_options.txt")  # of an earlier version, in the way of `espgen compile`
  message(STATUS "espgen: compiling ${model}")
  execute_process(COMMAND ${ESPGEN_COMMAND} compile "${model}" -o "${folder}" --no-code-size ${ARGN} RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "espgen could not compile ${model} (${failed})")
  endif()
  file(WRITE "${options_file}" "${options}")
endfunction()
