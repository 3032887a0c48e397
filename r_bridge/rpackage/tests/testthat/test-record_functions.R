test_that("a function's name is found before its arguments' types", {
  expect_identical(cpp_name("cpp_torch_method_add__self_Tensor_other_Tensor",
                            c("self", "other", "alpha")), "add_")
  expect_identical(cpp_name("cpp_torch_namespace_cat_tensors_TensorList_dim_int64_t",
                            c("tensors", "dim")), "cat")
  expect_identical(cpp_name("cpp_torch_method_index_add_self_Tensor_dim_int64_t_index_Tensor",
                            c("self", "dim", "index")), "index_add")
  expect_identical(cpp_name("cpp_torch_dispatch_namespace_sum", "args"), "sum")
  expect_identical(cpp_name("cpp_torch_namespace_randn_size_IntArrayRef", c("size", "options")),
                   "randn")
})

test_that("functions have the names that PyTorch's have", {
  of <- function(name) about_function(name)$layer
  expect_identical(of("nnf_cross_entropy"), "cross_entropy_loss")
  expect_identical(of("nnf_dropout2d"), "feature_dropout")
  expect_identical(of("relu_"), "relu")
  expect_identical(of("__and__"), "and")
  expect_true(about_function("add_")$changes)
  expect_false(about_function("add")$changes)
  expect_identical(about_function("randn_like")$draw, "randn")
  expect_null(about_function("add")$draw)
})

test_that("what only makes a tensor is no stage", {
  expect_true(all(grepl(not_stages, c("zeros", "ones_like", "empty", "_version", "is_leaf", "full"))))
  expect_false(any(grepl(not_stages, c("add", "cat", "index", "relu", "sum", "detach", "expand"))))
})

test_that("defaults that are constants are known, others not", {
  f <- function(input, p = 0.5, reduction = c("mean", "sum"), dim = -1L, size = p, other) NULL
  expect_identical(constant_defaults(f), list(p = 0.5, reduction = "mean", dim = -1L))
})
