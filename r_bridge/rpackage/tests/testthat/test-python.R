test_that("Python without pyvae is one message", {
  said <- unfit_pythons()$bare
  expect_equal(said$class, "pyvae_no_python")
  expect_match(said$message, "The Python package pyvae is not installed.*install_pyvae\\(")
  expect_match(said$message, said$python, fixed = TRUE)
})

test_that("Python that is too old is one message", {
  said <- unfit_pythons()$old
  expect_equal(said$class, "pyvae_no_python")
  expect_match(said$message, "Python is too old: pyvae needs 3.11 or newer.*Python 3.8.10")
})

test_that("a pyvae without what this package calls is one message", {
  expect_match(unfit_pythons()$outdated$message,
               "too old for this R package.*To update it, run `install")
})

test_that("another project's module pyvae is told apart and named, and no update is proposed", {
  said <- unfit_pythons()$foreign
  foreign <- paste0("another project.*", dirname(dirname(said$python)), "/lib/.*/pyvae ",
                    "\\(version 1.1.0: Interpretable autoenc")
  expect_equal(said$class, "pyvae_no_python")
  expect_match(said$message, foreign)
  expect_false(grepl("too old|[Uu]pdate", said$message))
  expect_match(said$report, foreign)
})

test_that("a module pyvae of another project that lies before ours is named, found or loaded", {
  skip_without_python()
  folder <- tempfile("elsewhere")
  dir.create(folder)
  writeLines("x = 1", file.path(folder, "pyvae.py"))
  python <- find_python()$python
  said <- in_session(function(folder) {
    refusal <- function() {
      tryCatch(pyvae:::python(), error = function(e) cli::ansi_strip(conditionMessage(e)))
    }
    Sys.setenv(PYTHONPATH = folder)
    found <- refusal()
    Sys.unsetenv("PYTHONPATH")
    sys <- reticulate::import("sys", convert = FALSE)
    sys$path$insert(0L, folder)
    reticulate::import("pyvae")
    sys$path$pop(0L)
    c(found, refusal())
  }, list(folder), environment = c(RETICULATE_PYTHON = python))
  expect_match(in_one_line(said[[1L]]), paste0("another project.*", folder, "/pyvae.py"))
  expect_match(in_one_line(said[[2L]]), "session has loaded belongs to another.*new R session")
})

test_that("a Python that reticulate cannot use is one message", {
  expect_match(unfit_pythons()$failing$message, "reticulate [0-9.]+ cannot use this Python.*Update")
})

test_that("no Python is one message, and the package loads without it", {
  expect_match(no_python()$message, "Python was not found")
  expect_match(no_python()$message, "RETICULATE_PYTHON")
})

test_that("asking does not bind the session to a Python", {
  expect_true(unfit_pythons()$available)
  expect_false(unfit_pythons()$bound)
})

test_that("a Python with pyvae is asked once, until it or what it inherits is another one", {
  before <- the$asked
  on.exit({
    the$asked <- before
    Sys.unsetenv("PYVAE_TEST_PYTHON")
  })
  the$asked <- NULL
  times <- 0
  ask <- function(bridge) {
    with_stand_in("ask_python", function(python) {
      times <<- times + 1
      list(version = "3.11.0", pyvae = "0.2.0", bridge = bridge)
    }, known_python("/some/python"))
  }
  for (i in 1:2) ask(FALSE)                                        # it may be installed meanwhile
  expect_equal(times, 2)
  for (i in 1:2) expect_true(ask(TRUE)$bridge)
  expect_equal(times, 3)
  Sys.setenv(PYVAE_TEST_PYTHON = "1")
  for (i in 1:2) ask(TRUE)
  expect_equal(times, 4)
  found <- with_stand_in("ask_python", function(python) list(version = python, bridge = TRUE),
                         known_python("/another"))
  expect_identical(found$version, "/another")
})

test_that("PyTorch multiplies with its own BLAS, not with R's", {
  skip_without_python()
  code <- paste(
    "import torch",
    "import hashlib",
    "a = torch.randn(200, 300, generator=torch.Generator().manual_seed(1))",
    "b = torch.randn(300, 100, generator=torch.Generator().manual_seed(2))",
    "torch.set_num_threads(1)",
    "bits = hashlib.sha256((a @ b).numpy().tobytes()).hexdigest()", sep = "\n")
  alone <- processx::run(tests_python()$python, c("-c", paste0(code, "\nprint(bits)")),
                         env = c("current", user_library_paths()))$stdout
  python()
  threads <- reticulate::import("torch")$get_num_threads()
  here <- reticulate::py_run_string(code)$bits
  reticulate::import("torch")$set_num_threads(threads)
  expect_equal(here, trimws(alone))
})

test_that("a PyTorch that was there before is warned of, once", {
  skip_without_python()
  warned <- in_session(function() {
    reticulate::import("torch")
    said <- character()
    for (i in 1:2) withCallingHandlers(pyvae:::python(), warning = function(w) {
      said <<- c(said, conditionMessage(w))
      invokeRestart("muffleWarning")
    })
    said
  })
  expect_length(warned, 1)
  expect_match(in_one_line(warned[[1L]]), "may use R's BLAS")
})

test_that("R knows the recipes and objectives that Python has", {
  skip_without_python()
  python()
  known <- reticulate::import("pyvae.recipes")$RECIPES
  expect_setequal(recipe_names, names(known))
  expect_setequal(objective_names, names(reticulate::import("pyvae.model.objectives")$OBJECTIVES))
  for (name in recipe_names) {
    about <- answer(python()$describe(name))
    expect_setequal(recipe_objectives[[name]], unlist(about$objectives))
    hyper <- vapply(known[[name]]$hyper, function(setting) setting$name, "")
    expect_setequal(recipe_hyper[[name]] %||% character(), hyper)
  }
  labelled <- vapply(recipe_hyper, function(names) "labels" %in% names, NA)
  expect_setequal(labelled_recipes, names(recipe_hyper)[labelled])
  expect_setequal(data_names, unlist(reticulate::import("pyvae.data.images")$DATA_NAMES))
  to_hex <- reticulate::import("matplotlib.colors")$to_hex
  for (name in names(reticulate::import("pyvae.figures.style")$COLOURS)) {
    colour <- grDevices::col2rgb(article_styles[[name]]$colour)
    expected <- to_hex(reticulate::import("pyvae.figures.style")$COLOURS[[name]])
    expect_equal(tolower(grDevices::rgb(t(colour), maxColorValue = 255)), expected, info = name)
  }
})
