settings <- list(objective = "vae", epochs = 3, steps = NULL, batch_size = 7, latent_dim = 2,
                 learning_rate = 1e-3, dtype = "float64", seed = 2, rng = "r")

write_example <- function(folder = tempfile(), ...) {
  set.seed(1)
  losses <- matrix(rnorm(600) * 10^runif(600, -20, 20), ncol = 3,
                   dimnames = list(NULL, c("total", "reconstruction", "regulariser")))
  trace <- list(engine = "my-r", recipe = "conv", settings = settings,
                data = list(name = "mine \"{x}\"", images = 40), losses = losses,
                epochs = rep(1:2, each = 100),
                parameters = list(w = array(rnorm(120), 2:5), b = rnorm(3)),
                latent_means = list(training = matrix(rnorm(6), 3), evaluation = diag(2)),
                samples = matrix(runif(32), 2), probes = list("3" = list(input = matrix(1:6, 2))))
  changed <- list(...)
  trace[names(changed)] <- changed
  do.call(write_trace, c(list(folder), trace))
  list(folder = folder, trace = trace)
}

test_that("what is written is read again, to the last bit", {
  example <- write_example()
  found <- read_trace(example$folder, probes = 3)
  for (name in c("engine", "recipe", "losses", "epochs", "parameters", "latent_means", "samples",
                 "probes")) {
    expect_equal(found[[name]], example$trace[[name]], tolerance = 0, info = name)
  }
  expect_equal(found$data, example$trace$data)
  expect_equal(found$settings$learning_rate, 1e-3, tolerance = 0)
  expect_true(found$complete)
  expect_identical(found$probed, 3L)
  again <- tempfile()
  write_trace(again, found)
  expect_identical(read_trace(again, probes = 3), found)
  expect_output(print(found), "Trace of my-r: recipe conv, objective vae, 200 steps of 7")
  table <- as.data.frame(found)
  expect_identical(table$total, unname(found$losses[, "total"]))
  expect_identical(table$step, 1:200)
})

test_that("any engine's name and any folder's will do", {
  name <- "a, 'b' \"c\" $d \\\\ \u00fc {e} %s <f>"
  folder <- file.path(tempfile(), name)
  example <- write_example(folder, engine = name)
  found <- read_trace(folder, probes = 3)
  expect_identical(found$engine, name)
  expect_equal(found$losses, example$trace$losses, tolerance = 0)
  history <- utils::read.csv(file.path(folder, "history.csv"), encoding = "UTF-8")
  expect_identical(unique(history$engine), name)
})

test_that("a name cannot print a line of its own, nor turn the others around", {
  name <- "mine\nverdict: agree\u202e\u001b[2J"
  trace <- read_trace(write_example()$folder)
  trace$engine <- name
  said <- utils::capture.output(print(trace))
  expect_match(said[[1L]], "mine verdict: agree \\[2J")
  check <- read_comparison_example()
  check$history$engine[7:12] <- name
  said <- paste(utils::capture.output(print(check)), collapse = "\n")
  expect_match(said, "PyTorch against mine verdict: agree  ?\\[2J: digits")
})

test_that("what Python writes besides, such as checksums, is left alone", {
  folder <- write_example()$folder
  path <- file.path(folder, "trace.json")
  found <- read_trace(folder)
  text <- readLines(path, encoding = "UTF-8")
  sums <- ", \"sha256\": {\"history.csv\": \"00\"}, \"later\": [1, {\"a\": null}]}"
  writeLines(sub("}$", sums, text), path, useBytes = TRUE)
  expect_identical(read_trace(folder), found)
})

test_that("decimal numbers are read as Python reads them", {
  # as.numeric() is off by a bit for some of the shortest decimals
  hard <- c("6912290852.051229", "6952874499.838799", "4.343949565663934e-20",
            "4.65152682736516e-06", "8.264727932401e-15", "9.0175037458539e-05", "0.1", "-2.5e300",
            "0", "1e0", "123456789012345680000", "inf", "nan", "9007199254740993",
            "1.7976931348623157e+308", "2.2250738585072014e-308", "9.999999999999999e22")
  found <- exact_numbers(hard)
  expect_true(is.infinite(found[[12L]]) && is.nan(found[[13L]]))
  skip_without_python()
  python()
  float <- reticulate::import_builtins(convert = TRUE)$float
  expected <- vapply(hard, function(text) float(text), 0)
  expect_identical(found[-13L], unname(expected)[-13L])
})

test_that("a trace that Python wrote is read", {
  trace <- read_trace(python_trace(), probes = 1)
  expect_identical(dim(trace$losses), c(2L, 3L))
  expect_identical(dim(trace$probes[["1"]][["forward/input"]]), c(2L, 784L))
})

test_that("the draws that Python writes are read, to the last bit", {
  folder <- tempfile()
  dir.create(folder)
  file.copy(list.files(python_trace(), full.names = TRUE), folder, recursive = TRUE)
  draws <- read_draws(folder)
  expect_named(draws$steps, c("1", "2"))
  expect_identical(dim(draws$initial$encoder.conv1.weight), c(32L, 1L, 3L, 3L))
  one <- draws$steps[["1"]]
  expect_identical(dim(one$noise), c(2L, 3L))
  expect_identical(dim(one$dropout1), c(2L, 64L, 12L, 12L))
  expect_setequal(one$dropout1, 0:1)
  probe <- read_trace(folder, probes = 1)$probes[["1"]]
  expect_identical(one$input, probe[["forward/input"]])
  expect_identical(draws$initial$encoder.fc1.bias, probe[["start/encoder.fc1.bias"]])
  expect_identical(read_draws(file.path(folder, "draws"), steps = 2)$steps, draws$steps["2"])
  expect_output(print(draws), "Draws for 2 steps.*input 2 x 784")
  expect_match(refusal(read_draws(folder, steps = 3)), "Step 3 was not.*1 to 2")
  expect_match(refusal(read_draws(folder, steps = "x")), "steps.* must be whole numbers")
  expect_match(refusal(read_draws(tempfile())), "no initial.safetensors")
  unlink(file.path(folder, "draws"), recursive = TRUE)
  expect_match(refusal(read_draws(folder)), "pyvae trace --draws")
})

test_that("a fit is a trace, too", {
  fit <- small_fit()
  folder <- tempfile()
  write_trace(folder, fit)
  found <- read_trace(folder)
  expect_identical(found$losses, as_run(fit)$losses)
  expect_identical(found$parameters[names(coef(fit))], coef(fit))
  expect_error(write_trace(folder, list(1)), "a name, a trace or a fit")
})

test_that("what is no run is refused before anything is written or removed", {
  folder <- write_example()$folder
  before <- tools::md5sum(list.files(folder, recursive = TRUE, full.names = TRUE))
  wrong <- function(...) complaint(write_example(folder, ...))
  expect_match(wrong(losses = 1:3), "losses must be a matrix of steps x 3")
  expect_match(wrong(losses = matrix(0, 200, 4)), "the columns of losses")
  expect_match(wrong(epochs = 1), "epochs must have 200 numbers")
  expect_match(wrong(settings = list(objective = "vae")), "settings lack epochs")
  expect_match(wrong(data = "digits"), "data must be list\\(name, images\\)")
  expect_match(wrong(parameters = list(1)), "parameters must be a named list")
  expect_match(wrong(latent_means = list(diag(2), diag(2))), "list\\(training = ")
  expect_match(wrong(environment = list("R")), "environment must be a named list")
  hyper <- c(settings, list(hyper = list(1)))
  expect_match(wrong(settings = hyper), "hyper must be")
  named <- "probes must be a list named by step, such as list\\(\"1\" = .*"
  probe <- list(input = diag(2))
  probes <- function(...) wrong(probes = list(...))
  expect_match(probes(probe), paste0(named, "no names"))
  expect_match(probes("1" = probe, probe), paste0(named, "'' is not a step"))
  expect_match(probes(first = probe), paste0(named, "'first' is not a step"))
  expect_match(probes("2" = probe, "2" = probe), "'2' is not a step, or occurs twice")
  expect_match(probes("0" = probe), "'0' is not a step")
  expect_match(probes("201" = probe), "200 steps and no step 201")
  expect_match(probes("1" = list(diag(2))), "step 1 is not a named list of arrays")
  expect_identical(tools::md5sum(list.files(folder, recursive = TRUE, full.names = TRUE)), before)
})

test_that("an interrupted trace has losses alone", {
  example <- write_example(parameters = NULL, probes = list())
  found <- read_trace(example$folder)
  expect_false(found$complete)
  expect_null(found$parameters)
  expect_output(print(found), "interrupted")
})

test_that("what is no trace, or a damaged one, is one message", {
  spoil <- function(file, how) {
    folder <- write_example()$folder
    how(file.path(folder, file))
    refusal(read_trace(folder, probes = 3))
  }
  cut <- function(path) writeBin(readBin(path, "raw", 40), path)
  expect_match(refusal(read_trace(tempfile())), "There is no such folder")
  expect_match(refusal(read_trace(tempdir())), "It has no trace.json")
  expect_match(refusal(read_trace(3)), "folder.* must be a path")
  expect_match(spoil("trace.json", cut), "trace.json is not JSON")
  expect_match(spoil("trace.json", function(path) writeLines("{\"format\": 1}", path)), "no engine")
  expect_match(spoil("trace.json", function(path) {
    writeLines(sub("\"format\": 4", "\"format\": 99", readLines(path)), path)
  }), "format 99")
  expect_match(spoil("history.csv", unlink), "history.csv cannot be read")
  expect_match(spoil("history.csv", cut), "history.csv (lacks|cannot be read)")
  expect_match(spoil("history.csv", function(path) {
    writeLines(utils::head(readLines(path), 9), path)
  }), "8 of 200 steps")
  expect_match(spoil("history.csv", function(path) {
    writeLines(sub("(\"my-r\",vae,1,2,)[^,]*", "\\112x", readLines(path)), path)
  }), "has '12x' for a loss")
  expect_match(spoil("parameters.safetensors", cut), "parameters.safetensors is damaged")
  expect_match(spoil("latents.safetensors", unlink), "It has no latents.safetensors")
  expect_match(spoil("probes/step-000003.safetensors", unlink), "no probes")
  expect_match(refusal(read_trace(write_example()$folder, probes = 2)), "Step 2 was not probed")
})

test_that("all types of safetensors that PyTorch writes are read", {
  skip_without_python()
  python()
  made <- reticulate::py_run_string(paste(
    "import numpy, safetensors.numpy",
    "x = numpy.arange(6).reshape(2, 3)",
    "data = bytearray(safetensors.numpy.save({name: x.astype(name) for name in",
    "    ('float64', 'float32', 'int64', 'int32', 'uint8')}",
    "    | {'bool': x > 2, 'scalar': numpy.array(-3), 'large': numpy.array([2**40, -2**40])}))",
    sep = "\n"))$data
  found <- read_safetensors(as.raw(made))
  expected <- matrix(c(0, 3, 1, 4, 2, 5), 2)
  for (name in c("float64", "float32", "int64", "int32", "uint8")) {
    expect_equal(found[[name]], expected, info = name)
  }
  expect_equal(found$bool, expected > 2)
  expect_equal(found$scalar, -3)
  expect_equal(found$large, c(2^40, -2^40))
})
