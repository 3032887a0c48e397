# The figures of a published R article, small: one network, trained as a VAE and without the entropy of
# the posterior ("EMAE"). The article takes hours; this starts from the trained VAE that comes with pyvae
# and goes on for three epochs with scikit-learn's small digits. The same in Python: article_figures.ipynb.
#
#   Rscript article_figures.R                in any folder; needs the R package pyvae and its Python

library(pyvae)

# The same network, start, batches, dropout masks and noise; only the loss differs.
vae <- vae_fit("digits", "vae", start = "trained", epochs = 3, batch_size = 50, seed = 2)
emae <- vae_fit("digits", "emae", start = "trained", epochs = 3, batch_size = 50, seed = 2)
vae
emae

# EMAE's loss is the lower one because it has fewer terms, not because it is the better model.
as.data.frame(vae, by = "epoch")
as.data.frame(emae, by = "epoch")

dir.create("figures", showWarnings = FALSE)
draw <- function(type, height) {
  file <- file.path("figures", paste0("article_", type, ".png"))
  png(file, width = 7, height = height, units = "in", res = 100,
      type = if (capabilities("cairo")) "cairo" else getOption("bitmapType"))
  on.exit(dev.off())
  plot(vae, emae, type = type)
  cat("written:", file, "\n")
}
draw("loss", 4.5)
draw("samples", 3.8)                       # sixteen decoded draws from N(0, I), the same for both
draw("latent", 3.8)                        # posterior means of the last batch, a line for each dimension
draw("spread", 3.2)                        # which dimensions say something about an image

# Active units: dimensions whose mean varies over images (Burda, Grosse & Salakhutdinov, 2016).
c(VAE = summary(vae)$active_units, EMAE = summary(emae)$active_units)
