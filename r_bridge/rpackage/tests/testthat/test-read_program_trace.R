test_that("a trace is shown in a few lines", {
  trace <- read_program_trace(write_program_example(program = "train.R"))
  expect_output(print(trace), paste0(
    "Trace of a program: base-r, train.R, 1 step\n2 parameters, 0 buffers, 1 network\n",
    "  x: input\\(\\)\n  fc: linear\\(x\\)"))
  expect_match(refusal(print(trace, 3)), "takes no further arguments")
})

test_that("a step that was not recorded, and what is damaged, is one message", {
  folder <- write_program_example()
  trace <- read_program_trace(folder)
  expect_match(refusal(trace$arrays(2)), "step.* must be a step that was recorded.*were: 1")
  path <- file.path(folder, "steps", "step-000001.safetensors")
  writeBin(readBin(path, "raw", 40), path)
  expect_match(refusal(trace$arrays(1)), "step-000001.safetensors is damaged")
  unlink(path)
  expect_match(refusal(trace$arrays(1)), "is cut.*step-000001.safetensors.* is missing")
  spoil <- function(old, new) {
    folder <- write_program_example()
    path <- file.path(folder, "trace.json")
    writeLines(sub(old, new, readLines(path)), path)
    refusal(read_program_trace(folder))
  }
  expect_match(spoil("\\{", ""), "not JSON")
  expect_match(spoil("\"engine\"", "\"motor\""), "has no engine")
  expect_match(spoil("\"format\": 5", "\"format\": 6"), "has format 6; this pyvae reads 5")
  expect_match(spoil("\"step\": 1", "\"step\": [1, 2]"), "value of a wrong type")
  expect_match(refusal(read_program_trace(tempfile())), "There is no such folder")
  expect_match(refusal(read_program_trace(tempdir())), "has no trace.json")
  expect_match(refusal(read_program_trace(3)), "folder.* must be a path")
})

test_that("each kind of trace names the function that reads it", {
  folder <- write_program_example()
  expect_match(refusal(read_trace(folder)), "read_program_trace\\(\\) reads it")
  path <- file.path(folder, "trace.json")
  writeLines(sub("\"format\": 5", "\"format\": 4", readLines(path)), path)
  expect_match(refusal(read_program_trace(folder)), "read_trace\\(\\) reads it")
})

test_that("numbers of half precision are read", {
  bits <- as.raw(c(0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b, 0x00, 0xfc, 0x00, 0x00))
  expect_identical(safetensors_numbers(bits, "F16"), c(1, -2, 2^-24, 65504, -Inf, 0))
  expect_true(is.nan(safetensors_numbers(as.raw(c(0x01, 0x7e)), "F16")))
})
