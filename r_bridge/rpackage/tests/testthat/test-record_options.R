test_that("axes count from 0, reductions have names, the rest stays", {
  expect_identical(option_value("dim", 2), 1)
  expect_identical(option_value("dim", -1), -1)
  expect_identical(option_value("dims", c(1, 3, 2)), I(c(0, 2, 1)))
  expect_identical(option_value("reduction", 1L), "mean")
  expect_identical(option_value("reduction", "sum"), "sum")
  expect_identical(option_value("p", 0.5), 0.5)
  expect_identical(option_value("normalized_shape", list(16, 4)), I(c(16, 4)))
  expect_identical(option_value("kernel_size", 3, array = TRUE), I(3))
  expect_null(option_value("padding_idx", NULL))
})

test_that("a place along an axis counts from 0, or from the end", {
  expect_identical(places_from_zero(list(dim = 1, start = 2, length = 2), "narrow"),
                   list(dim = 1, start = 1, length = 2))
  expect_identical(places_from_zero(list(dim = 1, index = 1), "select"), list(dim = 1, index = 0))
  expect_identical(places_from_zero(list(dim = 1, index = -1), "select"), list(dim = 1, index = -1))
  expect_identical(places_from_zero(list(start = 1, end = 3), "slice"), list(start = 1, end = 3))
})

test_that("numbers that are not finite are written as texts", {
  expect_identical(option_value("value", -Inf), "-inf")
  expect_identical(program_json(option_value("bounds", c(1, Inf))), "[1, \"inf\"]")
  expect_identical(program_json(option_value("value", NaN)), "\"nan\"")
})

test_that("a function's options leave out tensors, defaults and what only computes", {
  found <- function_options(list(p = 0.5, training = TRUE, inplace = FALSE, keepdim = FALSE,
                                 alpha = 1L, other = 2, weight = NULL),
                            defaults = list(keepdim = FALSE, alpha = 1L))
  expect_identical(found, list(p = 0.5, other = 2))
})

test_that("a function's name is that by which it is called", {
  expect_identical(name_of_function(quote(reverse(x))), "reverseBackward")
  expect_identical(name_of_function(quote(self$reverse(x, 1))), "reverseBackward")
  expect_identical(name_of_function(quote((function(x) x)(1))), "Backward")
  expect_identical(name_of_function(NULL), "Backward")
})
