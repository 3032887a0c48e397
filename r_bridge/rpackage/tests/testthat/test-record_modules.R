test_that("layers of an RNN count from 0", {
  expect_identical(rnn_names(c("weight_ih_l1", "bias_hh_l12_reverse", "h_0")),
                   c("weight_ih_l0", "bias_hh_l11_reverse", "h_0"))
})
