/// \file
/// All of the library.
#pragma once

#include "webinfer/client.h"
#include "webinfer/input.h"
#include "webinfer/output.h"
#include "webinfer/tensor.h"
