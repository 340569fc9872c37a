# Installs the library into an empty folder, and builds and runs a program that finds it there.
set(prefix "${BUILD}/package/prefix")
file(REMOVE_RECURSE "${BUILD}/package")

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN} has failed: ${result}")
  endif()
endfunction()

run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${prefix}")
run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}/package/build" "-DCMAKE_PREFIX_PATH=${prefix}" "-DVERSION=${VERSION}")
run("${CMAKE_COMMAND}" --build "${BUILD}/package/build")
run("${BUILD}/package/build/consumer" "${VERSION}")
