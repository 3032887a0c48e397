test_that("PyTorch and base R agree, and the tables say how closely", {
  skip_without_python()
  said <- cli::ansi_strip(paste(cli::cli_fmt(
    check <- compare_with_r(noise_images, "emae", steps = 1, batch_size = 5, latent_dim = 3,
                            seed = 5, engine = "base-r", verbose = TRUE)), collapse = "\n"))
  expect_match(said, "verdict: agree")
  expect_s3_class(check, "pyvae_comparison")
  expect_equal(check$verdict, "agree")
  expect_equal(check$settings$seed, 5)
  expect_equal(unique(check$quantities$objective), "emae")         # the vignette has both
  loss <- subset(check$quantities, quantity == "loss")
  expect_true(all(loss$needed < 1e-14))
  expect_true(all(loss$needed <= loss$allowed))
  expect_equal(nrow(check$history), 2)                             # engines
  expect_true(all(check$stages$verdict == "agree"))
  expect_output(print(check), "1 step of 5, float64, seed 5.*verdict: agree")
  expect_identical(as.data.frame(check), check$quantities)
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  before <- graphics::par("mfrow")
  expect_silent(plot(check))
  expect_identical(graphics::par("mfrow"), before)
  unlink(check$folder, recursive = TRUE)
})

# What compare_with_r() gives the command line as options, but for the data.
options_of <- function(...) {
  found <- with_stand_in("run_comparison", function(python, arguments, ...) arguments, {
    compare_with_r(noise_images, batch_size = 10, engine = "base-r", ...)
  })
  pairs <- matrix(found, 2L)
  found <- split(pairs[2L, ], pairs[1L, ])
  expect_match(found[["--data"]], "[.]npz$")
  found[names(found) != "--data"]
}

test_that("what is chosen becomes the command line's options", {
  skip_without_python()
  published <- list("--batch-size" = "10", "--dtype" = "float64", "--engine" = "base-r",
                    "--mode" = "free", "--recipe" = "beta", "--rng" = "injected", "--seed" = "2",
                    "--start" = "initial", "--steps" = "10")
  expect_mapequal(options_of(recipe = "beta"), published)          # its one objective is not asked
  changed <- options_of(recipe = "beta", objective = "beta", steps = 1, seed = 5, latent_dim = 3,
                        learning_rate = 1e-3, mode = "resync", dtype = "float32", rng = "seeded",
                        hyper = list(beta = 0.1))
  expect_equal(as.numeric(changed[["--learning-rate"]]), 1e-3, tolerance = 0)
  expect_equal(as.numeric(sub("^beta=", "", changed[["--set"]])), 0.1, tolerance = 0)
  expect_mapequal(changed[!names(changed) %in% c("--learning-rate", "--set")], utils::modifyList(
    published, list("--objective" = "beta", "--steps" = "1", "--seed" = "5", "--latent-dim" = "3",
                    "--mode" = "resync", "--dtype" = "float32", "--rng" = "seeded")))
  expect_equal(options_of()[["--objective"]], "both")
})

test_that("Python is started with the user's library path, without R's own folders", {
  skip_if(!file.exists(file.path(R.home("etc"), "ldpaths")), "R sets no library path here")
  python <- tempfile("python")
  writeLines(c("#!/bin/sh", "echo \"pyvae: found '$LD_LIBRARY_PATH'\" >&2", "exit 2"), python)
  Sys.chmod(python, "755")
  before <- Sys.getenv("LD_LIBRARY_PATH", NA)
  on.exit(if (is.na(before)) Sys.unsetenv("LD_LIBRARY_PATH") else Sys.setenv(LD_LIBRARY_PATH = before))
  Sys.setenv(LD_LIBRARY_PATH = paste0(R.home("lib"), ":/nowhere"))
  said <- refusal(run_comparison(python, character(), tempfile(), FALSE, FALSE, NULL))
  expect_match(said, "'/nowhere'", fixed = TRUE)
})

test_that("a disagreement is a result, with the place where the two part", {
  check <- read_comparison_example()
  expect_equal(check$quantities$verdict, c("disagree", "disagree"))
  expect_output(print(check), "first difference at step 1, encoder.relu1, forward")
  expect_output(print(check), "looks like: base-r: ReLU missing")
})

test_that("what cannot be compared is one message, in Python's own words", {
  skip_without_python()
  x <- noise_images
  expect_match(refusal(compare_with_r(x, steps = 0)), "steps.*whole number from 1")
  expect_match(refusal(compare_with_r(x, objective = "vea")), "Did you mean")
  expect_match(refusal(compare_with_r(list())), "list of 0")
  expect_match(refusal(compare_with_r(x, recipe = "mlp", steps = 1)),
               "40 images are fewer than one batch of 1000.*Use batch_size 40 or less")
  expect_match(refusal(compare_with_r(x, engine = "julia")), "engine.*base-r")
})

test_that("what R can know is refused before Python is looked for", {
  with_stand_in("find_python", function(...) abort("Python was looked for."), {
    refused <- function(...) refusal(compare_with_r(noise_images, ...))
    expect_match(refused(), "40 images are fewer than one batch of 250.*batch_size = 40")
    expect_match(refused(hyper = list(beta = 2)), "\"conv\" has no setting \"beta\".*It has none")
    expect_match(refused(batch_size = 20, recipe = "clustering-toy"), "takes points")
    there <- nzchar(system.file(package = "torch"))
    expect_match(refused(engine = "r-torch", recipe = "mlp", batch_size = 9),
                 if (there) "Python was looked for" else "needs the R package torch.*not installed")
    expect_match(refused(folder = 3, batch_size = 9), "folder.* must be a path")
    expect_match(refused(rng = "sown"), "rng.* must be one of")
    expect_match(refused(batch_size = 20), "Python was looked for")
  })
})

test_that("a folder that cannot be written to is the argument's, and so are Python's options", {
  file <- tempfile()
  file.create(file)
  expect_match(refusal(compare_with_r(noise_images, batch_size = 9, folder = file.path(file, "x"))),
               "folder.* cannot be written to.*Choose another .*folder")
  deep <- file.path(tempfile(), "a", "b")
  expect_identical(check_folder(deep, NULL), deep)
  expect_false(file.exists(dirname(dirname(deep))))                # it is not left behind
  stderr <- "pyvae: --data 'x': expected a file. Choose another --out. Run torch::install_torch()."
  said <- refusal(refuse_comparison(list(stderr = stderr), NULL))
  expect_match(said, "failed. . x 'x': expected a file. . Choose another folder. . Run torch::ins")
})

test_that("two traces are compared: folders, and what R read, writes again to the last bit", {
  one <- python_trace()
  sums <- function() tools::md5sum(list.files(one, recursive = TRUE, full.names = TRUE))
  before <- sums()
  other <- read_trace(one, probes = 1)
  other$losses[2, "total"] <- other$losses[2, "total"] + 1
  other$engine <- "mine"
  check <- compare_traces(one, other, exact = TRUE)
  expect_s3_class(check, "pyvae_comparison")
  expect_equal(check$verdict, "disagree")
  expect_identical(check$quantities$quantity[check$quantities$max_abs > 0], "loss")
  expect_true(all(check$stages$max_abs == 0))
  expect_output(print(check), "PyTorch against mine.*verdict: disagree")
  expect_match(refusal(compare_traces(one, tempfile())), "b.* must be the folder.*no folder")
  empty <- tempfile()
  dir.create(empty)
  expect_match(refusal(compare_traces(empty, one)), "a.* must be .*has no .*trace.json")
  above <- tempfile()
  dir.create(above)
  file.copy(one, above, recursive = TRUE)
  expect_identical(trace_folder(above, "a", "", NULL), normalizePath(above))
  written <- tempfile()
  expect_identical(trace_folder(small_fit(), "a", written, NULL), written)
  expect_identical(unname(read_trace(written)$losses), unname(as_run(small_fit())$losses))
  expect_match(refusal(compare_traces(one, 3)), "b.* must be the folder of a trace, a trace or a")
  expect_match(refusal(compare_traces(one, one, folder = one)), "must not be the folder of a trace")
  expect_identical(sums(), before)
})
