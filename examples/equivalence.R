# Equivalent over many seeds? PyTorch and plain R train the same network, each run with random numbers of
# its own, and an equivalence test (TOST) asks whether they train equally well. The test is done twice: by
# pyvae, and here with R's t.test. The same in Python: equivalence.ipynb.
#
#   Rscript equivalence.R                    in any folder; needs the R package pyvae and its Python

library(pyvae)

# The largest difference of the mean loss that does not matter: chosen before anything is trained.
margin <- 2                                   # nats per image: one per cent
out <- file.path(tempdir(), "equivalence")
python <- suppressWarnings(reticulate::py_config())$python  # reticulate 1.28 would speak of Poetry
status <- system2(python, c(
  "-m", "pyvae", "compare", "--recipe", "mlp-wide", "--data", "digits", "--epochs", 4, "--batch-size", 100,
  "--engine", "base-r", "--rng", "native", "--seeds", 6, "--margin", margin, "--jobs", 1,
  "--out", shQuote(out)), env = "LD_LIBRARY_PATH=")   # R's own libraries are not for Python
stopifnot(status %in% 0:1)                    # 1: not shown to be equivalent

# Every run is a row.
runs <- read.csv(file.path(out, "measures.csv"))
runs

# Two one-sided t-tests (Welch): that the difference is -margin or less, and that it is margin or more.
# Both have to be refused. It is the same to ask that the 90 % interval lies within the margin.
a <- runs$loss[runs$engine == "pytorch"]
b <- runs$loss[runs$engine == "base-r"]
p <- max(t.test(a, b, mu = -margin, alternative = "greater")$p.value,
         t.test(a, b, mu = margin, alternative = "less")$p.value)
interval <- as.numeric(t.test(a, b, conf.level = 0.9)$conf.int)
inside <- all(abs(interval) < margin)
cat(sprintf("loss: difference %+.2f, 90 %% interval %+.2f to %+.2f, margin %g, p = %.2g: %s\n",
            mean(a) - mean(b), interval[1], interval[2], margin, p,
            if (inside) "equivalent" else "not shown to be equivalent"))

# pyvae says the same.
theirs <- jsonlite::fromJSON(file.path(out, "comparison.json"))$objectives$elbo$measures$loss
stopifnot(
  all.equal(unlist(theirs$interval_90), interval, tolerance = 1e-8),
  all.equal(theirs$p_value, p, tolerance = 1e-6),
  inside == (p < 0.05), inside == (theirs$verdict == "equivalent"))
cat("R's t.test and pyvae agree on interval, p and verdict\n")
