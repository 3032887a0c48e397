#' Compare the PyTorch network with its R original
#'
#' Trains a recipe's network in PyTorch and in R on identical initial weights, batches, dropout
#' masks and noise, and holds losses, parameters and latent means against each other, and every
#' layer of the first step (`pyvae compare`). Where the two part, the first step, layer and element
#' are named. Needs Python and, in it, rpy2 (see [pyvae_sitrep()]); runs in a process of its own.
#'
#' @param x Images, as for [vae_fit()].
#' @param objective One of the recipe's objectives, or `"both"` that were published.
#' @param recipe As for [vae_fit()].
#' @param steps Steps of training.
#' @param batch_size,latent_dim,learning_rate Settings; `NULL` is the published one.
#' @param seed Of initial weights, batches, masks and noise.
#' @param engine The reference: `"base-r"` (without any package), `"r-torch"` (the R package
#'   torch), or `"auto"`: torch where it is installed, for the recipe `"conv"`.
#' @param rng `"injected"`: both get the same draws. `"seeded"`: both draw for themselves from the
#'   same seed.
#' @param mode `"free"`: each goes its own way from the first step. `"resync"`: every step starts
#'   from PyTorch's state, so that neither rounding nor a mistake is carried on.
#' @param dtype `"float64"` or `"float32"`.
#' @param labels,hyper As for [vae_fit()].
#' @param folder Where traces, tables, figures and, with `report = TRUE`, `report.html` are left.
#' @param report Whether to write `report.html`.
#' @param verbose Whether to show what the comparison says on its way.
#' @returns A list of class `pyvae_comparison`:
#'   - `verdict`: `"agree"` or `"disagree"`
#'   - `quantities`: a data frame with a row for each objective and quantity: the largest absolute
#'     and relative difference, the largest difference in units in the last place (ULP), the
#'     relative tolerance that was needed and the one that was allowed, a verdict
#'   - `stages`: a data frame with a row for each layer, gradient, moment and parameter of the steps
#'     that were looked into; `history`: the losses of every step on both sides; `latent_means`
#'   - `divergence`: for each objective `NULL`, or where the two part first
#'   - `settings`, `environment`, `folder`
#' @export
#' @examples
#' \dontrun{
#' check <- compare_with_r("digits", steps = 5, batch_size = 50)
#' check
#' plot(check)
#' subset(check$stages, verdict != "agree")
#' }
compare_with_r <- function(x = "auto", objective = "both", recipe = "conv", steps = 10,
                           batch_size = NULL, latent_dim = NULL, learning_rate = NULL, seed = 2,
                           engine = c("auto", "base-r", "r-torch"),
                           rng = c("injected", "seeded"), mode = c("free", "resync"),
                           dtype = c("float64", "float32"), labels = NULL, hyper = list(),
                           folder = tempfile("comparison"), report = FALSE,
                           verbose = interactive()) {
  here <- environment()
  recipe <- check_choice(recipe, "recipe", recipe_names)
  objective <- check_choice(objective, "objective", c(objective_names, "both", "all"))
  engine <- match.arg(engine)
  check_flag(report, "report")
  check_flag(verbose, "verbose")
  options <- c(
    recipe = recipe, steps = check_whole(steps, "steps"), engine = engine, rng = match.arg(rng),
    mode = match.arg(mode), dtype = match.arg(dtype),
    seed = check_whole(seed, "seed", least = 0),
    if (!is.null(batch_size)) c("batch-size" = check_whole(batch_size, "batch_size")),
    if (!is.null(latent_dim)) c("latent-dim" = check_whole(latent_dim, "latent_dim", most = 1e4)),
    if (!is.null(learning_rate)) {
      c("learning-rate" = sprintf("%.17g", check_positive(learning_rate, "learning_rate")))
    },
    if (objective != "both" || recipe == "conv") c(objective = objective))
  hyper <- check_hyper(hyper)
  images <- read_images(x)
  if (!is.null(labels)) labels <- pack(check_labels(labels, images))
  found <- check_python(here)
  folder <- path.expand(folder)
  data <- images$data
  if (is.null(data)) {
    data <- tempfile(fileext = ".npz")
    on.exit(unlink(data))
    where_python_is("save_images", list(data, images, labels), call = here)
  }
  arguments <- c("-m", "pyvae", "compare", rbind(paste0("--", names(options)), options),
                 "--data", data, "--out", folder, if (report) "--report",
                 rbind(rep("--set", length(hyper)),
                       sprintf("%s=%.17g", names(hyper), unlist(hyper))))
  show <- function(line, process) cli::cli_verbatim(line)
  done <- processx::run(found$python, arguments, error_on_status = FALSE,
                        env = c("current", callr::rcmd_safe_env(), PYTHONUNBUFFERED = "1"),
                        stdout_line_callback = if (verbose) show)
  if (!done$status %in% 0:1) refuse_comparison(done, here)
  read_comparison(folder)
}

save_images <- function(path, images, labels, tell, call) {
  answer(python(call)$save_images(path, images, labels), call)
}

refuse_comparison <- function(done, call) {
  lines <- grep("^pyvae: ", strsplit(done$stderr, "\n", fixed = TRUE)[[1L]], value = TRUE)
  why <- if (length(lines)) sub("^pyvae: ", "", utils::tail(lines, 1L))
    else first_line(utils::tail(strsplit(trimws(done$stderr), "\n", fixed = TRUE)[[1L]], 1L))
  options <- gregexpr("--[a-z][a-z-]*", why)                       # are arguments in R
  regmatches(why, options) <- lapply(regmatches(why, options), function(option) {
    gsub("-", "_", substring(option, 3L), fixed = TRUE)
  })
  parts <- vapply(strsplit(why, "; ", fixed = TRUE)[[1L]], sentence, "")
  bullets <- sprintf("{parts[[%d]]}", seq_along(parts))
  names(bullets) <- c("x", rep("i", length(parts) - 1L))
  abort(c("The comparison could not be made.", bullets), call)
}

# The tables that `pyvae compare` left in a folder.
read_comparison <- function(folder) {
  about <- jsonlite::fromJSON(file.path(folder, "comparison.json"), simplifyVector = FALSE)
  table <- function(name) {
    path <- file.path(folder, name)
    if (file.exists(path)) utils::read.csv(path, stringsAsFactors = FALSE)
  }
  rows <- Map(function(objective, name) {
    quantities <- Filter(function(field) is.list(field) && !is.null(field$rtol), objective)
    number <- function(field) {
      vapply(quantities, function(quantity) as.numeric(quantity[[field]] %||% NA), 0)
    }
    needed <- number("required_rtol")
    allowed <- number("rtol")
    problem <- vapply(quantities, function(quantity) quantity$problem %||% NA_character_, "")
    fine <- !is.na(needed) & needed <= allowed & is.na(problem)
    data.frame(objective = name, quantity = names(quantities), max_abs = number("max_abs"),
               max_rel = number("max_rel"), max_ulp = number("max_ulp"), needed = needed,
               allowed = allowed, verdict = ifelse(fine, "agree", "disagree"),
               row.names = NULL, stringsAsFactors = FALSE)
  }, about$objectives, names(about$objectives))
  structure(list(
    verdict = about$verdict, quantities = do.call(rbind, unname(rows)),
    stages = table("stages.csv"), history = table("history.csv"),
    latent_means = table("latent_means.csv"),
    divergence = lapply(about$objectives, function(objective) objective$first_divergence),
    settings = about$settings, environment = about$environment, engine = about$engine,
    data = about$data, folder = folder),
    class = "pyvae_comparison")
}

#' Look at a comparison
#'
#' @param x A comparison of [compare_with_r()].
#' @param ... Not used.
#' @returns `print()` and `plot()` their argument, invisibly; `as.data.frame()` the table
#'   `quantities`.
#' @name print.pyvae_comparison
NULL

#' @rdname print.pyvae_comparison
#' @export
print.pyvae_comparison <- function(x, ...) {
  settings <- x$settings
  cat("PyTorch against ", x$engine, ": ", x$data, ", ", counted(max(x$history$step), "step"),
      " of ", settings$batch_size, ", ", settings$dtype, ", seed ", format(settings$seed), "\n",
      sep = "")
  shown <- x$quantities
  for (column in c("max_abs", "max_rel", "needed", "allowed")) {
    shown[[column]] <- sprintf("%.1e", shown[[column]])
  }
  shown$max_ulp <- format(shown$max_ulp, digits = 2L)
  print(shown, row.names = FALSE)
  if (!is.null(x$stages)) {
    cat("stages: ", sum(x$stages$verdict == "agree"), " of ", nrow(x$stages), " agree\n", sep = "")
  }
  for (name in names(x$divergence)) {
    first <- x$divergence[[name]]
    if (is.null(first)) next
    cat(name, ": first part at step ", first$step, ", ", first$stage, ", ", first$pass, "\n",
        sep = "")
    for (words in unlist(first$looks_like)) cat("  looks like: ", words, "\n", sep = "")
  }
  cat("verdict: ", x$verdict, "\n", sep = "")
  invisible(x)
}

#' @rdname print.pyvae_comparison
#' @param row.names,optional As in [as.data.frame()]; `optional` is not used.
#' @export
as.data.frame.pyvae_comparison <- function(x, row.names = NULL, optional = FALSE, ...) {
  table <- x$quantities
  if (!is.null(row.names)) row.names(table) <- row.names
  table
}

#' @rdname print.pyvae_comparison
#' @export
plot.pyvae_comparison <- function(x, ...) {
  before <- graphics::par(no.readonly = TRUE)
  on.exit(graphics::par(before))
  history <- x$history
  objectives <- unique(history$objective)
  column <- utils::tail(names(history), 1L)
  engines <- unique(history$engine)
  of <- function(objective, engine) {
    history[history$objective == objective & history$engine == engine, ]
  }
  graphics::par(mfrow = c(1L, 2L), mar = c(3.5, 4.5, 2.5, 1), mgp = c(2.2, 0.7, 0), las = 1)
  unit <- if (column == "nats_per_image") "nats per image" else "loss of one image"
  plot(range(history$step), range(history[[column]]), type = "n", xlab = "step", ylab = "",
       main = "Loss in Python and in R", font.main = 1, cex.main = 1)
  graphics::title(ylab = unit, line = 3)
  for (objective in objectives) {
    style <- article_styles[[objective]]
    python <- of(objective, engines[[1L]])
    r <- of(objective, engines[[2L]])
    graphics::lines(python$step, python[[column]], col = style$colour, lwd = 1.5)
    graphics::points(r$step, r[[column]], col = style$colour, pch = 1L)
  }
  titles <- vapply(objectives, function(name) article_styles[[name]]$title %||% name, "")
  colours <- vapply(objectives, function(name) article_styles[[name]]$colour, "")
  graphics::legend("bottomleft", c(titles, engines), col = c(colours, "grey30", "grey30"),
                   lty = c(rep(1L, length(titles)), 1L, NA),
                   pch = c(rep(NA, length(titles)), NA, 1L), bty = "n", cex = 0.9)
  lowest <- .Machine$double.eps / 4                                # where equal ones are drawn
  apart <- lapply(objectives, function(objective) {
    python <- of(objective, engines[[1L]])$total
    r <- of(objective, engines[[2L]])$total
    pmax(abs(python - r) / abs(r), lowest)
  })
  graphics::par(mar = c(3.5, 4.5, 2.5, 3))
  ylim <- range(lowest, unlist(apart), 1e-15)
  plot(range(history$step), ylim, type = "n", log = "y", xlab = "step", yaxt = "n",
       ylab = "", main = "How far apart", font.main = 1, cex.main = 1)
  graphics::title(ylab = "relative difference", line = 3.2)
  powers <- seq(ceiling(log10(ylim[[1L]])), floor(log10(ylim[[2L]])))
  graphics::axis(2, at = 10^powers, labels = parse(text = paste0("10^", powers)))
  for (i in seq_along(objectives)) {
    graphics::points(seq_along(apart[[i]]), apart[[i]], pch = i,
                     col = article_styles[[objectives[[i]]]]$colour)
  }
  if (any(unlist(apart) == lowest)) {
    graphics::mtext("equal", side = 4, at = lowest, cex = 0.7, line = 0.1)
  }
  invisible(x)
}
