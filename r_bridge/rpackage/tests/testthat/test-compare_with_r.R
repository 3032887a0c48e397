test_that("PyTorch and base R agree, and the tables say how closely", {
  skip_without_python()
  check <- compare_with_r(noise_images, steps = 2, batch_size = 10, latent_dim = 3,
                          engine = "base-r")
  expect_s3_class(check, "pyvae_comparison")
  expect_equal(check$verdict, "agree")
  expect_setequal(check$quantities$objective, c("vae", "emae"))
  loss <- subset(check$quantities, quantity == "loss")
  expect_true(all(loss$needed < 1e-14))
  expect_true(all(loss$needed <= loss$allowed))
  expect_equal(nrow(check$history), 2 * 2 * 2)
  expect_true(all(check$stages$verdict == "agree"))
  expect_output(print(check), "verdict: agree")
  expect_identical(as.data.frame(check), check$quantities)
  grDevices::pdf(NULL)
  on.exit(grDevices::dev.off())
  before <- graphics::par("mfrow")
  expect_silent(plot(check))
  expect_identical(graphics::par("mfrow"), before)
  unlink(check$folder, recursive = TRUE)
})

test_that("one objective of another recipe, with its own settings, says what it does", {
  skip_without_python()
  said <- cli::ansi_strip(paste(cli::cli_fmt(
    check <- compare_with_r(noise_images, recipe = "beta", steps = 1, batch_size = 10, seed = 5,
                            verbose = TRUE)), collapse = "\n"))
  expect_match(said, "verdict: agree")
  expect_equal(check$settings$seed, 5)
  expect_equal(unique(check$quantities$objective), "beta")
  expect_output(print(check), "1 step of 10, float64, seed 5")
})

test_that("a disagreement is a result, with the place where the two part", {
  folder <- tempfile()
  dir.create(folder)
  writeLines('{"verdict": "disagree", "engine": "base-r", "data": "digits", "settings":
    {"batch_size": 5, "dtype": "float64", "seed": 2}, "environment": {}, "objectives": {"vae": {
    "verdict": "disagree", "loss": {"max_abs": 1, "max_rel": 0.5, "max_ulp": 9e15,
    "required_rtol": 0.5, "rtol": 1e-12, "scale": "element"}, "parameter": {"max_abs": null,
    "max_rel": null, "max_ulp": null, "required_rtol": null, "rtol": 1e-8, "scale": "tensor",
    "problem": "NaN"}, "first_divergence": {"step": 1, "pass": "forward", "stage":
    "encoder.relu1", "looks_like": ["base-r: ReLU missing"]}}}}',
    file.path(folder, "comparison.json"))
  writeLines(c("engine,objective,epoch,step,total,nats_per_image", "pytorch,vae,1,1,2,0.4",
               "base-r,vae,1,1,1,0.2"), file.path(folder, "history.csv"))
  check <- read_comparison(folder)
  expect_equal(check$quantities$verdict, c("disagree", "disagree"))
  expect_output(print(check), "first part at step 1, encoder.relu1, forward")
  expect_output(print(check), "looks like: base-r: ReLU missing")
})

test_that("what cannot be compared is one message, in Python's own words", {
  skip_without_python()
  x <- noise_images
  expect_match(refusal(compare_with_r(x, steps = 0)), "steps.*whole number from 1")
  expect_match(refusal(compare_with_r(x, objective = "vea")), "Did you mean")
  expect_match(refusal(compare_with_r(list())), "list of 0")
  expect_match(refusal(compare_with_r(x, steps = 1)),
               "40 images are fewer than one batch of 250.*Choose batch_size 40 or less")
  expect_error(compare_with_r(x, engine = "julia"), "base-r")
})
