#' pyvae: variational autoencoders, fitted in PyTorch and checked against R
#'
#' [vae_fit()] trains the network of a published write-up with the Python package `pyvae` and
#' returns a plain R list. [compare_with_r()] shows that the PyTorch network and its R original agree. Only
#' training, predicting, generating and comparing need Python.
#'
#' Options:
#' - `pyvae.own_process`: `TRUE` runs Python in a separate process, `FALSE` in this session. By
#'   default Python runs in this session, unless the R package torch is installed: torch and PyTorch
#'   cannot share a process.
#' - `pyvae.source`: what [install_pyvae()] installs by default: a folder, a wheel or a URL.
#'
#' @keywords internal
#' @importFrom rlang .data
#' @importFrom stats predict simulate
"_PACKAGE"
