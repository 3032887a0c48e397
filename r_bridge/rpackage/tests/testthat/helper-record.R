# Recording needs R's torch, which cannot share a session with PyTorch: so each program runs in a
# session of its own, and tests look at what it has left.

skip_without_torch <- function() {
  testthat::skip_if(!nzchar(system.file(package = "torch")), "needs the R package torch")
  if (is.null(made$torch)) {
    made$torch <- tryCatch(callr::r(function() torch::torch_is_installed()),
                           error = function(e) FALSE)
  }
  testthat::skip_if(!made$torch, "needs LibTorch: torch::install_torch()")
}

# Runs code in a session with torch and this package, and returns its value.
with_torch <- function(code, ..., arguments = list()) {
  skip_without_torch()
  in_new_session(function(code, arguments) {
    library(torch)
    library(pyvae)
    torch_set_num_threads(1)
    arguments$plain_message <- function(error) {
      gsub("[[:space:]]+", " ", cli::ansi_strip(conditionMessage(error)))
    }
    eval(code, list2env(arguments, parent = globalenv()))
  }, list(substitute(code), arguments))
}

# Keras in R: keras3, and in the Python that has pyvae Keras 3.
skip_without_keras <- function() {
  testthat::skip_if(!nzchar(system.file(package = "keras3")), "needs the R package keras3")
  skip_without_python()
  if (is.null(made$keras)) {
    asked <- "import importlib.metadata as m; print(m.version('keras'))"
    found <- processx::run(tests_python()$python, c("-c", asked), error_on_status = FALSE)
    made$keras <- found$status == 0L && numeric_version(trimws(found$stdout)) >= "3"
  }
  testthat::skip_if(!made$keras, "needs Keras 3 in the Python that has pyvae")
}

# A recorded trace: what trace.json says, and the arrays of each step.
read_program <- function(folder) {
  about <- jsonlite::fromJSON(file.path(folder, "trace.json"), simplifyVector = FALSE)
  files <- list.files(file.path(folder, "steps"), "^step-[0-9]{6}[.]safetensors$",
                      full.names = TRUE)
  about$arrays <- lapply(files, read_safetensors)
  about$network <- about$networks[[1L]]
  names(about$network) <- vapply(about$network, function(stage) stage$name, "")
  about
}

stage_texts <- function(trace) {
  vapply(trace$network, function(stage) {
    paste0(stage$name, ": ", stage$layer, "(", paste(unlist(stage$inputs), collapse = ", "), ")")
  }, "", USE.NAMES = FALSE)
}
