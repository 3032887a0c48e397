# A program, and the same one with another seed that starts as it did and draws as it did.
started_alike <- function() {
  if (is.null(made$started)) {
    made$started <- with_torch({
      net <- nn_module(
        initialize = function() {
          self$fc <- nn_linear(3, 8)
          self$norm <- nn_batch_norm1d(8)
          self$drop <- nn_dropout(0.4)
          self$out <- nn_linear(8, 2)
        },
        forward = function(x) {
          h <- self$drop(torch_relu(self$norm(self$fc(x))))
          self$out(nnf_dropout(h + 0.1 * torch_randn_like(h), 0.2))
        })
      torch_manual_seed(7)
      batches <- lapply(1:3, function(i) torch_randn(16, 3))
      run <- function(seed, folder, ...) {
        torch_manual_seed(seed)
        model <- net()
        optimizer <- optim_adam(model$parameters)
        suppressMessages(record(model, optimizer, folder, ...))
        for (x in batches) {
          optimizer$zero_grad()
          model(x)$pow(2)$mean()$backward()
          optimizer$step()
        }
        lapply(model$state_dict(), as_array)
      }
      said <- function(code) tryCatch(code, pyvae_error = function(e) plain_message(e))
      folder <- tempfile()
      map <- tempfile(fileext = ".csv")
      writeLines(c("a,b", "0.weight,fc.weight", "0.bias,fc.bias"), map)
      wrong <- tempfile(fileext = ".csv")
      writeLines(c("a,b", "nothing,fc.bias"), wrong)
      first <- run(1, folder)
      other <- nn_sequential(nn_linear(3, 8))
      begin <- function(model, ...) {
        optimizer <- optim_sgd(model$parameters, lr = 0.1)
        suppressMessages(record(model, optimizer, tempfile(), ...))
        stop_recording()
      }
      begin(other, start = folder, names = map)
      # a batch norm by hand counts no calls
      by_hand <- tempfile()
      start <- list("0.weight" = c(1, 2), "0.bias" = c(0, 1), "0.running_mean" = c(0, 3),
                    "0.running_var" = c(1, 4))
      write_program_trace(by_hand, "base-r", steps = list(list(start = start)))
      norm <- nn_sequential(nn_batch_norm1d(2))
      begin(norm, start = by_hand)
      in_order <- nn_sequential(nn_linear(3, 8), nn_batch_norm1d(8), nn_linear(8, 2))
      optimizer <- optim_sgd(in_order$parameters, lr = 0.1)
      told <- testthat::capture_messages(record(in_order, optimizer, tempfile(), start = folder))
      stop_recording()
      result <- list(
        in_order = lapply(in_order$state_dict(), as_array), told = told,
        first = first, alike = run(2, tempfile(), start = folder, replay = folder),
        norm = lapply(norm$state_dict(), as_array), started = run(2, tempfile(), start = folder),
        mapped = as_array(other$parameters[[1]]),
        lacking = said(begin(nn_sequential(nn_linear(3, 8)), start = folder)),
        shape = said(begin(nn_sequential(nn_linear(4, 8)), start = folder, names = map)),
        unknown = said(begin(nn_sequential(nn_linear(3, 8)), start = folder, names = wrong)),
        mask = said({
          model <- nn_sequential(nn_linear(3, 3), nn_dropout(0.5))
          optimizer <- optim_sgd(model$parameters, lr = 0.1)
          suppressMessages(record(model, optimizer, tempfile(), replay = folder))
          model(torch_randn(2, 3))
        }))
      stop_recording()
      result$starts <- lapply(pyvae:::read_tensors(
        file.path(folder, "steps", "step-000001.safetensors"),
        function(keys) startsWith(keys, "start/"), NULL), as_array)
      result$start <- result$starts[["start/fc.weight"]]
      result
    })
  }
  made$started
}

test_that("with the other's start and draws every bit of the training is the same", {
  found <- started_alike()
  expect_identical(found$alike, found$first)
})

test_that("with its start alone the masks are others", {
  found <- started_alike()
  expect_false(identical(found$started$fc.weight, found$first$fc.weight))
})

test_that("names of the other program are mapped", {
  found <- started_alike()
  expect_identical(found$mapped, found$start)
})

test_that("names that say nothing are taken in their order, if all shapes are alike", {
  found <- started_alike()
  for (pair in list(c("0.weight", "fc.weight"), c("0.bias", "fc.bias"), c("1.weight", "norm.weight"),
                    c("1.running_var", "norm.running_var"), c("2.weight", "out.weight"))) {
    expect_identical(found$in_order[[pair[[1L]]]], found$starts[[paste0("start/", pair[[2L]])]])
  }
  expect_match(found$told, "in its order: 0.weight = fc.weight, .* and 2 more", all = FALSE)
})

test_that("a batch norm by hand has no count of its calls, and needs none", {
  found <- started_alike()
  expect_identical(found$norm[["0.running_var"]], c(1, 4))
  expect_equal(c(found$norm[["0.num_batches_tracked"]]), 0)
})

test_that("what does not fit is named", {
  found <- started_alike()
  expect_match(found$lacking, "has no start of \"0.weight\". . What it has, and the model has not")
  expect_match(found$lacking, "\"out.bias\".* Say what it is called there")
  expect_match(found$shape, "\"0.weight\" is 8 x 4 here and 8 x 3 in")
  expect_match(found$unknown, "a row for \"nothing\" and \"fc.bias\". . The model has neither")
  expect_match(found$mask, "has no mask of \"1\" in step 1")
})

test_that("with a map another program's names do for layers, modules and masks", {
  found <- with_torch({
    torch_manual_seed(7)
    batches <- lapply(1:2, function(i) torch_randn(16, 3))
    block <- nn_module(
      initialize = function() {
        self$fc <- nn_linear(3, 3)
        self$drop <- nn_dropout(0.4)
      },
      forward = function(x) nnf_dropout(self$drop(self$fc(x)), 0.2))
    other <- nn_module(
      initialize = function() {
        self$linear <- nn_linear(3, 3)
        self$dropout <- nn_dropout(0.4)
      },
      forward = function(x) nnf_dropout(self$dropout(self$linear(x)), 0.2))
    run <- function(model, seed, folder, ...) {
      torch_manual_seed(seed)
      model$apply(function(m) if (inherits(m, "nn_linear")) nn_init_normal_(m$weight))
      optimizer <- optim_sgd(model$parameters, lr = 0.1)
      suppressMessages(record(model, optimizer, folder, steps = 2, ...))
      for (x in batches) {
        optimizer$zero_grad()
        model(x)$pow(2)$mean()$backward()
        optimizer$step()
      }
      unname(lapply(model$state_dict(), as_array))
    }
    folder <- tempfile()
    map <- tempfile(fileext = ".csv")
    # as `pyvae compare` writes it, and a row for a module that has others in it
    writeLines(c("a,b,what,layer,layout,found by", "0.fc,one.linear,stage,linear,,order",
                 "0,one,,,,", "0.drop,one.dropout,stage,dropout,,order",
                 "0.more,,stage,relu,,only here", "pow,pow,stage,pow,,name",
                 "0.dropout,one.dropout#2,stage,dropout,,order", "x + y,z,parameter,,,value",
                 "0.fc.weight,one.linear.weight,parameter,,,order"), map)
    second <- nn_module(initialize = function() self$one <- other(),
                        forward = function(x) self$one(x))
    list(first = run(nn_sequential(block()), 1, folder),
         second = run(second(), 2, tempfile(), start = folder, replay = folder, names = map))
  })
  expect_identical(found$second, found$first)
})

test_that("a dropout in place takes the other's mask; a step that lacks may be none", {
  found <- with_torch({
    net <- nn_module(
      initialize = function() {
        self$fc <- nn_linear(3, 4)
        self$drop <- nn_dropout(0.5, inplace = TRUE)
      },
      forward = function(x) {
        x <- self$fc(x)
        self$drop(x)
        nnf_dropout(x, 0.5, inplace = TRUE)                # what it returns is x
      })
    x <- torch_randn(8, 3)
    w <- torch_randn(4, 3)
    run <- function(seed, folder, ..., rounds = 2) {
      torch_manual_seed(seed)
      model <- net()
      with_no_grad(model$fc$weight$copy_(w))
      with_no_grad(model$fc$bias$zero_())
      optimizer <- optim_sgd(model$parameters, lr = 0.1)
      suppressMessages(record(model, optimizer, folder, ...))
      losses <- 0
      for (round in seq_len(rounds)) {
        optimizer$zero_grad()
        loss <- model(x)$pow(2)$sum()
        loss$backward()
        optimizer$step()
        losses <- c(losses, loss$item())
      }
      torch_randn(2)                                       # after the last step, of no model
      stop_recording()
      list(losses, as_array(model$fc$weight))
    }
    folder <- tempfile()
    said <- function(code) tryCatch(code, pyvae_error = plain_message)
    list(first = run(1, folder), second = run(2, tempfile(), replay = folder),
         further = said(run(3, tempfile(), replay = folder, rounds = 3)))
  })
  expect_identical(found$second, found$first)
  expect_match(found$further, "Step 3 is not in the trace")
})
