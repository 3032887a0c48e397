to_python_and_back <- function(x) {
  module <- python()
  unpack(reticulate::py_to_r(module$pack(module$unpack(pack(x)))))
}

test_that("arrays go to Python and back to the last bit", {
  skip_without_python()
  x <- matrix(rnorm(600 * 784), 600)
  x[1:6] <- c(NA, NaN, Inf, -Inf, -0, 4.9e-324)
  there <- to_python_and_back(x)
  expect_identical(to_bytes(there), to_bytes(x))                   # NA is still NA, and not NaN
  expect_identical(there, x)
  expect_identical(to_python_and_back(array(1:24, 2:4)), array(1:24, 2:4))
  expect_identical(to_python_and_back(as.raw(0:255)), as.raw(0:255))
  expect_identical(to_python_and_back(matrix(0, 0, 3)), matrix(0, 0, 3))
  expect_identical(to_python_and_back(c(1.5, 2)), c(1.5, 2))
})

test_that("x[2, 1, 3] in R is x[1, 0, 2] in Python", {
  skip_without_python()
  x <- array(as.double(1:30), c(2, 3, 5))
  there <- python()$unpack(pack(x))
  expect_identical(unlist(reticulate::py_to_r(there$shape)), c(2L, 3L, 5L))
  for (i in 1:2) for (j in 1:3) for (k in 1:5) {
    expect_identical(reticulate::py_to_r(there$item(i - 1L, j - 1L, k - 1L)), x[i, j, k])
  }
  expect_identical(to_python_and_back(x), x)
})

test_that("more than one piece is put together again", {
  local_most_bytes <- function(code) {
    ours <- asNamespace("pyvae")
    before <- ours$most_bytes
    set <- function(value) {
      unlockBinding("most_bytes", ours)
      assign("most_bytes", value, ours)
      lockBinding("most_bytes", ours)
    }
    set(64)
    on.exit(set(before))
    code
  }
  x <- rnorm(21)
  local_most_bytes({
    expect_identical(to_bytes(x), writeBin(x, raw(), endian = "little"))
    expect_identical(from_bytes(to_bytes(x), "float64", 21), x)
    expect_identical(from_bytes(to_bytes(1:37), "int32", 37), 1:37)
  })
})

test_that("a mistake that Python finds is an R error, braces and all", {
  told <- list(error = list(problem = "objective {x} is wrong", expected = "a {y}", remedy = ""))
  text <- refusal(answer(told))
  expect_match(text, "Objective {x} is wrong.", fixed = TRUE)
  expect_match(text, "Expected a {y}.", fixed = TRUE)
})
