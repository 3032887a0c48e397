#' Generate new images from a fit
#'
#' Decodes draws from the prior: N(0, I), or for a clustering recipe p(z|y), each cluster y in turn.
#' The draws come from R's generator: use [set.seed()] to repeat them. Needs Python (see
#' [pyvae_sitrep()]).
#'
#' `generate()` is the generic of the package generics.
#'
#' @param x,object A fit from [vae_fit()].
#' @param n,nsim The number of images.
#' @param z Latents to decode, a matrix of n x latent dimensions; by default drawn from N(0, I).
#' @param seed Passed to [set.seed()], if not `NULL`; the generator's state is restored afterwards,
#'   as by [stats::simulate()].
#' @param ... Not used; other arguments are an error.
#' @returns An array of n x 28 x 28, `[image, row, column]`, pixels from 0 to 1 (for the recipe
#'   `"clustering-toy"` a matrix of n x 2, points; of images with several channels these come last). `simulate()` adds the attribute `seed`: the
#'   state of the generator, or the seed, as [stats::simulate()] does.
#' @name generate
#' @examplesIf pyvae::pyvae_available()
#' x <- array(runif(20 * 28 * 28), c(20, 28, 28))
#' fit <- vae_fit(x, latent_dim = 5, epochs = 1, batch_size = 10, seed = 1)
#' set.seed(1)
#' images <- generate(fit, 25)
#' image(t(images[1, 28:1, ]), col = grey.colors(256))
NULL

#' @importFrom generics generate
#' @noRd
#' @export
generics::generate

#' @rdname generate
#' @export
generate.vae_fit <- function(x, n = 16, z = NULL, ...) {
  here <- environment()
  check_no_more(rlang::exprs(...), "generate", c("n", "z"))
  dimensions <- x$settings$latent_dim
  if (is.null(z)) {
    n <- check_whole(n, "n", most = 1e6)
    z <- matrix(stats::rnorm(n * dimensions), n)
  } else if (!is.matrix(z) || !is.numeric(z) || ncol(z) != dimensions || !nrow(z)) {
    abort(c(paste("{.arg z} must be a matrix with {dimensions} column{?s}, one for each latent",
                  "dimension."),
            "x" = "It is {in_words(z)}."), here)
  } else if (!all(is.finite(z))) {
    bad <- which(!is.finite(z))[[1L]]
    place <- paste(arrayInd(bad, dim(z)), collapse = ", ")
    abort(c("{.arg z} must hold finite numbers.", "x" = "{.code z[{place}]} is {z[[bad]]}."), here)
  }
  storage.mode(z) <- "double"
  recipe <- recipe_of_fit(x)
  rows <- unpack(where_python_is("decode_latents", list(as_model(x, recipe), pack(z)), call = here))
  as_images(rows, recipe$shape)
}

decode_latents <- function(model, z, progress, call) {
  answer(python(call)$generate(model, z), call)
}

#' @rdname generate
#' @export
simulate.vae_fit <- function(object, nsim = 1, seed = NULL, ...) {
  check_no_more(rlang::exprs(...), "simulate", c("nsim", "seed"))
  nsim <- check_whole(nsim, "nsim", most = 1e6)
  if (!is.null(seed)) seed <- check_whole(seed, "seed", least = -.Machine$integer.max)
  if (!exists(".Random.seed", envir = globalenv(), inherits = FALSE)) stats::runif(1L)
  state <- get(".Random.seed", envir = globalenv())
  if (!is.null(seed)) {
    on.exit(assign(".Random.seed", state, envir = globalenv()))
    set.seed(seed)
    state_or_seed <- structure(seed, kind = as.list(RNGkind()))
  } else {
    state_or_seed <- state
  }
  structure(generate.vae_fit(object, nsim), seed = state_or_seed)
}
