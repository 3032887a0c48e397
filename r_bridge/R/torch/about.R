# What is there of R's torch, as one line of JSON: version of the package, LibTorch's version, the
# folder of its libraries, and what R said when they did not load. r_bridge/installed/r_torch.py runs it.

torch_about <- function() {
  about <- list(version = "", libtorch = "", folder = "", failure = "")
  if (!nzchar(system.file(package = "torch"))) return(about)
  about$version <- as.character(utils::packageVersion("torch"))
  cat("torch ", about$version, "\n", sep = "")
  if (utils::packageVersion("torch") < "0.13") return(about)
  said <- character()
  note <- function(condition) {
    cause <- if (is.null(condition$parent)) condition else condition$parent
    said <<- c(said, conditionMessage(cause))
    invokeRestart("muffleWarning")
  }
  ignore <- function(condition) invokeRestart("muffleMessage")
  about$failure <- tryCatch(
    withCallingHandlers({
      # TORCH_VERIFY_LOAD=FALSE (set by the caller): asks for the files alone
      installed <- torch::torch_is_installed()
      about$folder <- torch::torch_install_path()
      if (installed) {
        about$libtorch <- torch_libtorch()
        stopifnot(as.numeric(torch::torch_tensor(1)$sum()) == 1)
      }
      ""
    }, warning = note, message = ignore),
    error = function(e) paste(c(said, conditionMessage(e)), collapse = " ")
  )
  about$failure <- gsub("[[:space:]]+", " ", gsub("\033\\[[0-9;]*m", "", about$failure))
  about
}

# LibTorch's version: what the installation says of itself, else what R torch was made for.
torch_libtorch <- function() {
  said <- file.path(torch::torch_install_path(), "build-version")
  if (file.exists(said)) return(trimws(readLines(said, n = 1L, warn = FALSE)))
  made_for <- get0("torch_version", asNamespace("torch"), inherits = FALSE)
  if (is.character(made_for)) made_for else "unknown"
}

torch_about_json <- function(about) {
  escaped <- gsub("([\\\\\"])", "\\\\\\1", vapply(about, enc2utf8, ""))
  paste0("{", paste0("\"", names(about), "\": \"", escaped, "\"", collapse = ", "), "}")
}
