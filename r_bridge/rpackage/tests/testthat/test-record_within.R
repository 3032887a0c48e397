# Programs with dropout within a layer: alone, recorded, and with another's masks.
dropping_programs <- function() {
  if (is.null(made$dropping)) {
    made$dropping <- with_torch({
      attend <- nn_module(
        initialize = function(p) {
          self$fc <- nn_linear(8, 8)
          self$p <- p
        },
        forward = function(x) {
          x <- self$fc(x)
          list(torch_scaled_dot_product_attention(x, x, x, dropout_p = self$p))
        })
      heads <- nn_module(initialize = function(p) self$m <- nn_multihead_attention(8, 2, p),
                         forward = function(x) self$m(x, x, x))
      kinds <- list(
        lstm = function(p) nn_lstm(8, 6, 3, dropout = p, batch_first = TRUE, bidirectional = TRUE),
        gru = function(p) nn_gru(8, 6, 2, dropout = p), rnn = function(p) nn_rnn(8, 6, 2, dropout = p),
        m = heads, scaled_dot_product_attention = attend)
      torch_manual_seed(9)
      batches <- lapply(1:2, function(i) torch_randn(5, 4, 8))
      run <- function(make, seed = 1, folder = NULL, p = 0.3, ...) {
        torch_manual_seed(1)
        model <- make(p)
        optimizer <- optim_sgd(model$parameters, lr = 0.1)
        torch_manual_seed(seed)
        if (!is.null(folder)) {
          suppressMessages(record(model, optimizer, folder, steps = 2, overwrite = TRUE, ...))
        }
        losses <- vapply(batches, function(x) {
          optimizer$zero_grad()
          loss <- model(x)[[1]]$square()$mean()
          loss$backward()
          optimizer$step()
          loss$item()
        }, 0)
        list(losses = losses, parameters = lapply(model$state_dict(), as_array),
             generator = as.integer(torch_get_rng_state()$to(dtype = torch_int())))
      }
      found <- lapply(names(kinds), function(name) {
        folder <- tempfile()
        other <- tempfile()
        none <- run(kinds[[name]], folder = other, p = 0)
        result <- list(
          alone = run(kinds[[name]]), recorded = run(kinds[[name]], folder = folder),
          other = run(kinds[[name]], 2), replayed = run(kinds[[name]], 2, tempfile(),
                                                        replay = folder),
          lacking = tryCatch(run(kinds[[name]], 2, tempfile(), replay = other),
                             pyvae_error = function(e) plain_message(e)))
        stop_recording()
        masks <- pyvae:::read_tensors(
          pyvae:::step_path(folder, 1L), function(keys) startsWith(keys, "draw/"), NULL)
        result$masks <- lapply(masks, as_array)
        result
      })
      stats::setNames(found, names(kinds))
    })
  }
  made$dropping
}

test_that("the masks within a layer are recorded, and nothing changes", {
  shapes <- list(lstm = c(2, 4, 5, 12), gru = c(1, 5, 4, 6), rnn = c(1, 5, 4, 6),
                 m = c(4, 2, 5, 5), scaled_dot_product_attention = c(5, 4, 4))
  for (name in names(dropping_programs())) {
    found <- dropping_programs()[[name]]
    expect_identical(found$recorded, found$alone)
    expect_named(found$masks, paste0("draw/", name))
    expect_equal(dim(found$masks[[1L]]), shapes[[name]])
    expect_setequal(as.integer(found$masks[[1L]]), 0:1)
  }
})

test_that("another program's masks give its bits, and the generator goes on as alone", {
  for (found in dropping_programs()) {
    expect_identical(found$replayed[c("losses", "parameters")],
                     found$alone[c("losses", "parameters")])
    expect_identical(found$replayed$generator, found$other$generator)
    expect_false(identical(found$other$losses, found$alone$losses))
  }
})

test_that("a trace without the masks is refused", {
  for (name in names(dropping_programs())) {
    expect_match(dropping_programs()[[name]]$lacking,
                 paste0("has no mask of \"", name, "\" in step 1"))
  }
})
