#' Compare the PyTorch network with its R original
#'
#' Trains a network in PyTorch and in R with identical initial weights, batches, dropout masks and
#' noise, and compares losses, parameters, latent means and every layer of the first step, as
#' `pyvae compare` does. If the two differ, it reports the first step, layer and element that do.
#' Needs Python with rpy2 (see [pyvae_sitrep()]); runs in a separate process.
#'
#' @param x Images, as for [vae_fit()].
#' @param objective One of the recipe's objectives, or `"both"` for the published ones.
#' @param recipe As for [vae_fit()].
#' @param steps Training steps.
#' @param batch_size,latent_dim,learning_rate Settings; `NULL` takes the published value.
#' @param seed The seed of initial weights, batches, masks and noise.
#' @param engine The reference: `"base-r"` (no packages), `"r-torch"` (the R package torch), or
#'   `"auto"`: torch if it is installed, else base R.
#' @param rng `"injected"`: both get the same random draws. `"seeded"`: both draw their own, from
#'   the same seed.
#' @param mode `"free"`: the two runs are independent after the start. `"resync"`: every step starts
#'   from PyTorch's state, and errors do not accumulate.
#' @param dtype `"float64"` or `"float32"`.
#' @param labels,hyper As for [vae_fit()].
#' @param scale The divisor of the pixels, as for [vae_fit()].
#' @param folder The folder for traces, tables and figures, and for `report.html` with
#'   `report = TRUE`.
#' @param report Whether to write `report.html`.
#' @param verbose Whether to show the progress of the comparison.
#' @param start `"initial"`: both start from the same initial parameters. `"trained"`: both start from
#'   the trained state of [vae_fit()].
#' @returns A list of class `pyvae_comparison`:
#'   - `verdict`: `"agree"` or `"disagree"`
#'   - `quantities`: a data frame with a row for each objective and quantity: the largest absolute
#'     and relative difference, the largest difference in units in the last place (ULP), the
#'     relative tolerance that was needed and the one that is allowed, and a verdict
#'   - `stages`: a data frame with a row for each layer, gradient, moment and parameter of the steps
#'     that were probed; `history`: the losses of every step of both engines; `latent_means`
#'   - `divergence`: for each objective `NULL`, or the place where the two first differ
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
                           verbose = interactive(), scale = NULL,
                           start = c("initial", "trained")) {
  here <- environment()
  recipe <- check_choice(recipe, "recipe", recipe_names)
  objective <- check_objective(objective, recipe, c("both", "all"))
  engine <- check_choice(engine, "engine", c("auto", "base-r", "r-torch"), several = TRUE)
  if (engine == "r-torch") check_r_torch(here)
  check_flag(report, "report")
  check_flag(verbose, "verbose")
  options <- c(
    recipe = recipe, steps = check_whole(steps, "steps"), engine = engine,
    rng = check_choice(rng, "rng", c("injected", "seeded"), several = TRUE),
    mode = check_choice(mode, "mode", c("free", "resync"), several = TRUE),
    dtype = check_choice(dtype, "dtype", c("float64", "float32"), several = TRUE),
    seed = check_whole(seed, "seed", least = 0),
    start = check_choice(start, "start", c("initial", "trained"), several = TRUE),
    if (!is.null(batch_size)) c("batch-size" = check_whole(batch_size, "batch_size")),
    if (!is.null(latent_dim)) c("latent-dim" = check_whole(latent_dim, "latent_dim", most = 1e4)),
    if (!is.null(learning_rate)) {
      c("learning-rate" = sprintf("%.17g", check_positive(learning_rate, "learning_rate")))
    },
    if (objective != "both" || recipe == "conv") c(objective = objective))
  hyper <- check_hyper(hyper, recipe)
  images <- read_images(x, scale = scale)
  labels <- check_labels(labels, images, recipe, hyper)
  check_enough_images(images, recipe, batch_size, here)
  folder <- check_folder(folder, here)
  warn_of_black(images)
  found <- check_python(here)
  data <- images$data
  if (is.null(data)) {
    data <- tempfile(fileext = ".npz")
    on.exit(unlink(data))
    where_python_is("save_images", list(data, images, labels), call = here)
  }
  arguments <- c(rbind(paste0("--", names(options)), options), "--data", data,
                 rbind(rep("--set", length(hyper)),
                       sprintf("%s=%.17g", names(hyper), unlist(hyper))))
  run_comparison(found$python, arguments, folder, report, verbose, here)
}

run_comparison <- function(python, arguments, folder, report, verbose, call) {
  show <- function(line, process) cli::cli_verbatim(line)
  done <- processx::run(python, c("-m", "pyvae", "compare", arguments, "--out", folder,
                                  if (report) "--report"),
                        error_on_status = FALSE,
                        env = c("current", callr::rcmd_safe_env(), user_library_paths(),
                                PYTHONUNBUFFERED = "1"),
                        stdout_line_callback = if (verbose) show)
  if (!done$status %in% 0:1) refuse_comparison(done, call)
  about <- jsonlite::fromJSON(file.path(folder, "comparison.json"), simplifyVector = FALSE)
  if (is.null(about$sides)) read_comparison(folder) else read_port_comparison(about, folder)
}

# Checked in R: to start Python takes seconds.
check_r_torch <- function(call) {
  if (!nzchar(system.file(package = "torch"))) {
    abort(c("{.code engine = \"r-torch\"} needs the R package torch, which is not installed.",
            "i" = "Install it: {.code install.packages(\"torch\"); torch::install_torch()}.",
            "i" = "Or use {.code engine = \"base-r\"}, which needs no package."), call)
  }
}

check_enough_images <- function(images, recipe, batch_size, call) {
  if (is.null(images$dim)) return(invisible())
  columns <- images$dim[[2L]]
  wanted <- if (recipe == "clustering-toy") 2L else prod(digits_shape)
  if (columns != wanted) {
    inputs <- if (wanted == 2L) "points" else "images of 28x28 pixels"
    abort(c("Recipe {.val {recipe}} takes {inputs}.",
            "x" = "{.arg x} has {columns} columns."), call)
  }
  batch_size <- batch_size %||% if (recipe == "conv") formals(vae_fit)$batch_size
  n <- images$dim[[1L]]
  if (!is.null(batch_size) && n < batch_size) {
    abort(c("{n} image{?s} are fewer than one batch of {batch_size}.",
            "i" = "Choose {.code batch_size = {n}} or less."), call)
  }
}

# A folder that can be written to, or made: making it is tried, and undone.
check_folder <- function(folder, call, others = character()) {
  if (!is.character(folder) || length(folder) != 1L || is.na(folder) || !nzchar(folder)) {
    abort(c("{.arg folder} must be a path.", "x" = "It is {in_words(folder)}."), call)
  }
  folder <- path.expand(folder)
  fine <- if (file.exists(folder)) dir.exists(folder) && file.access(folder, 2L) == 0L
    else can_be_made(folder)
  if (!fine) {
    abort(c("{.arg folder} cannot be written to.", "x" = "It is {.file {folder}}.",
            "i" = "Choose another {.arg folder}."), call)
  }
  if (normalizePath(folder, mustWork = FALSE) %in% others) {
    abort(c("{.arg folder} must not be the folder of a trace.", "x" = "It is {.file {folder}}."),
          call)
  }
  folder
}

save_images <- function(path, images, labels, progress, call) {
  answer(python(call)$save_images(path, for_python(images), labels), call)
}

refuse_comparison <- function(done, call) {
  lines <- grep("^pyvae: ", strsplit(done$stderr, "\n", fixed = TRUE)[[1L]], value = TRUE)
  why <- if (length(lines)) sub("^pyvae: ", "", utils::tail(lines, 1L))
    else first_line(utils::tail(strsplit(trimws(done$stderr), "\n", fixed = TRUE)[[1L]], 1L))
  options <- gregexpr("--[a-z][a-z-]*", why)                       # are arguments in R
  regmatches(why, options) <- lapply(regmatches(why, options), function(option) {
    name <- gsub("-", "_", substring(option, 3L), fixed = TRUE)
    other <- c(data = "x", out = "folder", set = "hyper", map = "names")[name]
    ifelse(is.na(other), name, other)
  })
  # *what is wrong. What to do.*
  parts <- vapply(strsplit(why, "(?<=[.?!]) (?=[A-Z])", perl = TRUE)[[1L]], sentence, "")
  bullets <- sprintf("{parts[[%d]]}", seq_along(parts))
  names(bullets) <- c("x", rep("i", length(parts) - 1L))
  abort(c("The comparison failed.", bullets), call)
}

engine_title <- function(engine) if (engine == "pytorch") "PyTorch" else printable(engine)

can_be_made <- function(folder) {
  first <- folder                                                  # of those that are made
  while (!file.exists(dirname(first)) && dirname(first) != first) first <- dirname(first)
  made <- suppressWarnings(dir.create(folder, recursive = TRUE))
  unlink(first, recursive = TRUE, expand = FALSE)
  made
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
    data.frame(objective = objective$objective %||% name, quantity = names(quantities), max_abs = number("max_abs"),
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

#' Print, plot or tabulate a comparison
#'
#' @param x A comparison from [compare_with_r()] or [compare_traces()].
#' @param ... Not used; other arguments are an error.
#' @returns `print()` and `plot()` return their argument, invisibly; `as.data.frame()` returns the
#'   table `quantities`.
#' @name print.pyvae_comparison
NULL

#' @rdname print.pyvae_comparison
#' @export
print.pyvae_comparison <- function(x, ...) {
  check_no_more(rlang::exprs(...), "print", character())
  settings <- x$settings
  engines <- vapply(unique(x$history$engine), engine_title, "")
  cat(paste(engines, collapse = " against "), ": ", printable(x$data), ", ",
      counted(max(x$history$step), "step"), " of ", settings$batch_size, ", ", settings$dtype,
      ", seed ", format(settings$seed), "\n", sep = "")
  shown <- x$quantities
  for (column in c("max_abs", "max_rel", "needed", "allowed")) {
    shown[[column]] <- formatC(shown[[column]], format = "e", digits = 1L)
  }
  shown$max_ulp <- format(shown$max_ulp, digits = 2L)
  print(shown, row.names = FALSE)
  if (!is.null(x$stages)) {
    cat("stages: ", sum(x$stages$verdict == "agree"), " of ", nrow(x$stages), " agree\n", sep = "")
  }
  for (name in names(x$divergence)) {
    first <- x$divergence[[name]]
    if (is.null(first)) next
    cat(name, ": first difference at step ", first$step, ", ", printable(first$stage), ", ",
        first$pass, "\n", sep = "")
    for (words in unlist(first$looks_like)) cat("  looks like: ", printable(words), "\n", sep = "")
  }
  cat("verdict: ", x$verdict, "\n", sep = "")
  invisible(x)
}

#' @rdname print.pyvae_comparison
#' @param row.names,optional As in [as.data.frame()]; `optional` is not used.
#' @export
as.data.frame.pyvae_comparison <- function(x, row.names = NULL, optional = FALSE, ...) {
  check_no_more(rlang::exprs(...), "as.data.frame", c("row.names", "optional"),
                but = "stringsAsFactors")
  table <- x$quantities
  if (!is.null(row.names)) row.names(table) <- row.names
  table
}

#' @rdname print.pyvae_comparison
#' @export
plot.pyvae_comparison <- function(x, ...) {
  check_no_more(rlang::exprs(...), "plot", character())
  restore <- divide_page(2L)
  on.exit(restore())
  draw_both_losses(x$history)
  draw_difference(x$history)
  invisible(x)
}

sides_of <- function(history, objective) {
  engines <- unique(history$engine)
  lapply(engines, function(engine) {
    history[history$objective == objective & history$engine == engine, ]
  })
}

draw_both_losses <- function(history) {
  column <- utils::tail(names(history), 1L)
  engines <- unique(history$engine)
  objectives <- unique(history$objective)
  at <- pretty(range(history[[column]], finite = TRUE))
  labels <- axis_labels(at)
  graphics::par(mar = c(4, labels$room + 2, 2.5, 1), mgp = c(2.2, 0.7, 0), las = 1)
  plot(range(history$step), range(history[[column]], finite = TRUE), type = "n", xlab = "step",
       ylab = "", xaxt = "n", yaxt = "n")
  draw_whole_axis(range(history$step))
  graphics::axis(2, at = at, labels = labels$text)
  draw_title(paste("Loss of", engine_title(engines[[1L]]), "and", engine_title(engines[[2L]])))
  graphics::title(ylab = if (column == "nats_per_image") "nats per image" else "loss of one image",
                  line = labels$room + 0.5)
  for (objective in objectives) {
    style <- article_styles[[objective]]
    sides <- sides_of(history, objective)
    graphics::lines(sides[[1L]]$step, sides[[1L]][[column]], col = style$colour, lwd = 1.5)
    graphics::points(sides[[2L]]$step, sides[[2L]][[column]], col = style$colour, pch = 1L)
  }
  titles <- vapply(objectives, function(name) article_styles[[name]]$title %||% name, "")
  colours <- vapply(objectives, function(name) article_styles[[name]]$colour, "")
  n <- length(titles)
  graphics::legend("topright", c(titles, vapply(engines, engine_title, "")),
                   col = c(colours, "grey30", "grey30"), lty = c(rep(1L, n), 1L, NA),
                   pch = c(rep(NA, n), NA, 1L), bty = "n", cex = 0.9)
}

draw_difference <- function(history) {
  objectives <- unique(history$objective)
  lowest <- .Machine$double.eps / 4                                # where equal ones are drawn
  apart <- lapply(objectives, function(objective) {
    sides <- sides_of(history, objective)
    steps <- intersect(sides[[1L]]$step, sides[[2L]]$step)
    a <- sides[[1L]]$total[match(steps, sides[[1L]]$step)]
    b <- sides[[2L]]$total[match(steps, sides[[2L]]$step)]
    data.frame(step = steps, gap = pmax(abs(a - b) / abs(b), lowest))
  })
  gaps <- unlist(lapply(apart, function(table) table$gap))
  graphics::par(mar = c(4, 4.5, 2.5, 3), mgp = c(2.2, 0.7, 0), las = 1)
  ylim <- range(lowest, gaps, 1e-15, finite = TRUE)
  plot(range(history$step), ylim, type = "n", log = "y", xlab = "step", xaxt = "n", yaxt = "n",
       ylab = "")
  draw_title("Difference of the losses")
  graphics::title(ylab = "relative difference", line = 3.2)
  draw_whole_axis(range(history$step))
  powers <- pretty(log10(ylim), 6)
  powers <- powers[powers == round(powers) & 10^powers >= ylim[[1L]] & 10^powers <= ylim[[2L]]]
  graphics::axis(2, at = 10^powers, labels = parse(text = sprintf("10^%d", as.integer(powers))))
  for (i in seq_along(objectives)) {
    graphics::points(apart[[i]]$step, apart[[i]]$gap, pch = i,
                     col = article_styles[[objectives[[i]]]]$colour)
  }
  if (any(gaps == lowest, na.rm = TRUE)) {
    graphics::mtext("equal", side = 4, at = lowest, cex = 0.7, line = 0.1)
  }
}
