test_that("a process of its own goes on with a fit, says how far it is, and is ended by Ctrl-C", {
  skip_without_python()
  old <- options(pyvae.own_process = TRUE)
  on.exit(options(old))
  said <- cli::ansi_strip(paste(cli::cli_fmt(there <- with_ctrl_c(8, {
    vae_fit(noise_images, continue = small_fit(), epochs = 5000, verbose = TRUE)
  })), collapse = "\n"))
  expect_match(said, "steps of 20")
  expect_match(said, "epoch 3: [0-9.]+ nats per image")
  expect_true(there$interrupted)
  steps <- nrow(there$history)
  expect_gt(steps, 7)
  expect_lt(steps, 10000)
  options(pyvae.own_process = FALSE)
  here <- vae_fit(noise_images, continue = small_fit(), steps = steps - 4)
  same <- c("history", "parameters", "optimiser", "latent_means", "samples")
  expect_identical(there[same], here[same])                        # no step was left half done
  expect_false(here$interrupted)
})

test_that("the next calls, from another folder, are of the same process, and mistakes come back", {
  skip_without_python()
  old <- options(pyvae.own_process = TRUE)
  folder <- setwd(tempdir())
  on.exit({
    options(old)
    setwd(folder)
  })
  means <- predict(small_fit(), noise_images)
  first <- the$process$process$get_pid()
  dir.create("elsewhere")
  setwd("elsewhere")
  saveRDS(noise_images, "images.rds")
  expect_identical(predict(small_fit(), "images.rds"), means)
  expect_match(refusal(predict(small_fit(), noise_images, type = "cluster")),
               "Recipe conv has no clusters.*Use type = \"latent\"")
  expect_identical(the$process$process$get_pid(), first)
})

test_that("an error in a callback ends the training there, and the process with it", {
  expect_end_by_error(own_process = TRUE)
  expect_null(the$process)
})

test_that("Ctrl-C that breaks off the other process's call breaks off this session's, no more", {
  skip_on_os("windows")                                            # where pskill() ends a process
  busy <- function(name, arguments, reply, asker, folder) {
    cat("pyvae-report:{\"event\": \"loading\"}\n")
    flush(stdout())
    Sys.sleep(600)
  }
  said <- NULL
  press <- function(report) {
    said <<- report$event
    tools::pskill(Sys.getpid(), tools::SIGINT)
    Sys.sleep(60)                                                  # which Ctrl-C ends
  }
  old <- options(pyvae.own_process = TRUE)
  on.exit(options(old))
  keep_process(take_process("python"))
  half_loaded <- the$process$process
  ended_by <- with_stand_in("check_python", function(call) list(python = "python"), {
    with_stand_in("run_for_other", busy, {
      tryCatch(where_python_is("vae_fit", list(), press), interrupt = identity, error = identity)
    })
  })
  expect_identical(said, "loading")
  expect_identical(class(ended_by), c("interrupt", "condition"))
  expect_false(half_loaded$is_alive())
  expect_null(the$process)
})

test_that("a process is kept as long as it is as a new one would be", {
  use <- function(within = function() NULL) {
    taken <- take_process("python")
    on.exit(keep_process(taken))
    within()
    taken$process$get_pid()
  }
  on.exit(Sys.unsetenv("PYVAE_TEST_OWN_PROCESS"))
  first <- use()
  expect_identical(use(), first)
  inner <- NULL                                                    # a call within a call
  expect_identical(use(function() inner <<- use()), first)
  expect_false(inner == first)
  expect_identical(use(), first)
  if (.Platform$OS.type != "windows") {
    forked <- parallel::mccollect(parallel::mcparallel(c(use(), use())))[[1L]]
    expect_identical(forked[[1L]], forked[[2L]])
    expect_false(forked[[1L]] == first)
    expect_identical(use(), first)
  }
  Sys.setenv(PYVAE_TEST_OWN_PROCESS = "1")
  second <- use()
  expect_false(second == first)
  expect_true(!is_alive(first) || .Platform$OS.type == "windows")
  the$process$process$kill()
  third <- use()
  expect_false(third == second)
  taken <- take_process("python")                                  # its call is broken off
  taken$process$call(function() Sys.sleep(600))
  keep_process(taken)
  expect_false(taken$process$is_alive())
  expect_null(the$process)
})

test_that("a process leaves no temporary files when the session has ended", {
  folder <- tempfile("temporary")
  dir.create(folder)
  there <- in_new_session(function() {
    ours <- asNamespace("pyvae")
    use <- function() {
      taken <- ours$take_process("python")
      on.exit(ours$keep_process(taken))
      dir.exists(taken$process$run(function() tempdir()))
    }
    if (.Platform$OS.type == "windows") return(use())
    c(use(), parallel::mccollect(parallel::mcparallel(use()))[[1L]])
  }, list(), environment = c(TMPDIR = folder))
  expect_true(all(there))
  expect_identical(list.files(folder), character())
})

test_that("a session that has forked ends at once, and says nothing", {
  skip_on_os("windows")
  errors <- tempfile()
  callr::r(function() {
    own <- processx::process$new("cat", stdin = "|")
    parallel::mccollect(parallel::mcparallel(1))
    close(own$get_input_connection())
    # asked again and again: while parallel still waits for the forked one, processx is not told of
    # an end, and its wait() would last for ever
    while (own$is_alive()) Sys.sleep(0.01)
    again <- callr::r_session$new()
    parallel::mccollect(parallel::mcparallel(2))
    again$close()
  }, stderr = errors, user_profile = FALSE)
  expect_identical(readLines(errors), character())
})

# A package of the name torch in a library of its own, with a namespace that can be loaded.
stand_in_torch <- function() {
  folder <- tempfile("library")
  dir.create(file.path(folder, "source", "torch"), recursive = TRUE)
  write.dcf(list(Package = "torch", Version = "0.17.0", Title = "Stand-in", Author = "Nobody",
                 Maintainer = "Nobody <nobody@example.org>", Description = "A stand-in.",
                 License = "MIT"), file.path(folder, "source", "torch", "DESCRIPTION"))
  file.create(file.path(folder, "source", "torch", "NAMESPACE"))
  callr::rcmd("INSTALL", c(paste0("--library=", folder), file.path(folder, "source", "torch")))
  folder
}

test_that("where the R package torch is, Python stays out of the session, and mistakes come back", {
  skip_without_python()
  library <- stand_in_torch()
  fit <- small_fit()
  found <- in_session(function(fit, x) {
    ours <- asNamespace("pyvae")
    installed <- ours$needs_own_process()
    loadNamespace("torch")
    own <- ours$needs_own_process()
    unlockBinding("run_for_other", ours)
    ours$run_for_other <- function(name, ...) {                    # all but PyTorch, as above
      there <- asNamespace("pyvae")
      unlockBinding(name, there)
      assign(name, function(...) {
        here <- c(Sys.getpid(), there$needs_own_process(), nzchar(system.file(package = "torch")))
        there$abort(c("Asked {name}.", "x" = "It is {here}."))
      }, there)
      there$run_for_other(name, ...)
    }
    mistake <- tryCatch(predict(fit, x, type = "cluster"), pyvae_error = conditionMessage)
    options(pyvae.own_process = FALSE)
    refused <- tryCatch(pyvae::vae_fit(x, batch_size = 20), error = conditionMessage)
    list(installed = installed, own = own, mistake = mistake, session = Sys.getpid(),
         python_here = reticulate::py_available(), refused = refused)
  }, list(fit, noise_images), library = library)
  expect_true(found$installed)
  expect_true(found$own)
  mistake <- in_one_line(found$mistake)
  expect_match(mistake, "Asked predict_images.*It is [0-9]+, 0, and 1")
  expect_false(grepl(paste("It is", found$session), mistake))
  expect_false(found$python_here)
  expect_match(in_one_line(found$refused), "cannot be loaded in the same.*own_process = NULL")
})

# With a library named that has the real one.
torch_library <- Sys.getenv("PYVAE_TEST_R_TORCH")
if (nzchar(torch_library)) test_that("the real torch and a fit live in one session", {
  skip_without_python()
  found <- in_new_session(function(x) {
    before <- torch::as_array(torch::torch_ones(2))
    fit <- pyvae::vae_fit(x, batch_size = 20, epochs = 1, latent_dim = 2, seed = 1)
    list(before, class(fit), torch::as_array(torch::torch_ones(2)))
  }, list(noise_images), environment = c(TORCH_VERIFY_LOAD = "FALSE"), library = torch_library)
  expect_equal(found, list(c(1, 1), "vae_fit", c(1, 1)))
})

test_that("an option that is no flag is refused", {
  old <- options(pyvae.own_process = "yes")
  on.exit(options(old))
  expect_match(refusal(needs_own_process()), "own_process.*TRUE.*FALSE")
})
