# Recipes: pyvae's own, and those of the user's own files.

# As in Python: pyvae/recipes and pyvae/model/objectives.py (a test holds the two together).
recipe_objectives <- list(
  conv = c("vae", "emae", "em"), mlp = "elbo", "mlp-wide" = "elbo", "strided-conv" = "elbo",
  beta = "beta", clustering = "clustering", "clustering-semi-supervised" = "semi-supervised",
  "clustering-toy" = "clustering-points")
recipe_names <- names(recipe_objectives)
objective_names <- unique(unlist(recipe_objectives, use.names = FALSE))
clustering_hyper <- c("clusters", "temperature", "beta")
recipe_hyper <- list(
  beta = "beta", clustering = clustering_hyper,
  "clustering-semi-supervised" = c(clustering_hyper, "labels", "alpha", "labelled_weight"),
  "clustering-toy" = c(clustering_hyper, "variance"))
labelled_recipes <- "clustering-semi-supervised"

#' Use a recipe of your own
#'
#' [vae_fit()] takes a recipe from a Python file (the project's page "A recipe of your own" says what
#' is in it), with images of any size and number of channels: `recipe = "FILE.py:NAME"`. The file is a
#' program, and it is run. A fit never has a file run that you have not named in the session: to
#' predict with a fit that was saved, name its recipe first.
#'
#' @param file `"FILE.py:NAME"`: the path of the file, and the name of the recipe in it.
#' @returns A list, invisibly: the recipe's `name`, its `objectives`, `hyper` (the names of the
#'   settings that only it has), `shape` (channels, height and width of an image), `epochs`,
#'   `batch_size`, `latent_dim`, `learning_rate`.
#' @seealso [vae_fit()]
#' @export
#' @examples
#' \dontrun{
#' fit <- vae_fit(x, recipe = "my_vae.py:RECIPE", epochs = 5)
#' saveRDS(fit, "fit.rds")
#'
#' # in another session
#' use_recipe("my_vae.py:RECIPE")
#' predict(readRDS("fit.rds"), x)
#' }
use_recipe <- function(file) {
  here <- environment()
  if (!is_recipe_file(file)) {
    abort(c("{.arg file} must be {.val FILE.py:NAME}, such as {.val my_vae.py:RECIPE}.",
            "x" = "It is {in_words(file)}."), here)
  }
  invisible(open_recipe_file(file, here))
}

is_recipe_file <- function(x) {
  is.character(x) && length(x) == 1L && !is.na(x) && grepl("[.]py(:|$)", x)
}

# list(name, asked, objectives, hyper, shape) of what a user asked for.
find_recipe <- function(recipe, call = rlang::caller_env()) {
  if (is_recipe_file(recipe)) return(open_recipe_file(recipe, call))
  known_recipe(check_choice(recipe, "recipe", recipe_names, call))
}

known_recipe <- function(name) {
  list(name = name, asked = name, objectives = recipe_objectives[[name]],
       hyper = recipe_hyper[[name]], shape = digits_shape)
}

open_recipe_file <- function(file, call) {
  path <- sub(":[^:]*$", "", file)
  if (path != file) file <- paste0(normalizePath(path, mustWork = FALSE),
                                   substring(file, nchar(path) + 1L))
  found <- where_python_is("describe_recipe", list(file), call = call)
  shape <- as.integer(unlist(found$shape))
  recipe <- c(list(name = found$name, asked = file, objectives = unlist(found$objectives),
                   hyper = unlist(found$hyper),
                   shape = if (length(shape)) shape else as.integer(found$features)),
              found[c("epochs", "batch_size", "latent_dim", "learning_rate")])
  the$recipes[[recipe$name]] <- recipe
  recipe
}

describe_recipe <- function(recipe, progress, call) answer(python(call)$describe(recipe), call)

# The recipe of a fit; one from a file has to have been named in this session.
recipe_of_fit <- function(fit, call = rlang::caller_env()) {
  name <- fit$recipe
  if (name %in% recipe_names) return(known_recipe(name))
  recipe <- the$recipes[[name]]
  if (!is.null(recipe)) return(recipe)
  abort(c("The fit's recipe {.val {name}} is from a file, which has not been named in this session.",
          "i" = "Name it first: {.code use_recipe(\"FILE.py:NAME\")}."), call)
}
