#' pyvae: variational autoencoders, fitted in PyTorch and checked against R
#'
#' [vae_fit()] trains a network of a published write-up with the Python package `pyvae` and returns
#' a plain R list; [compare_with_r()] shows that the PyTorch network and its R original agree.
#' Everything that does not train or predict works without Python.
#'
#' Options:
#' - `pyvae.own_process`: `TRUE` runs Python in a process of its own, `FALSE` in this session. By
#'   default in this session, unless the R package torch is installed: its LibTorch and that of
#'   PyTorch do not fit into one process.
#' - `pyvae.source`: what [install_pyvae()] installs by default: a folder, a wheel or a URL.
#'
#' @keywords internal
#' @importFrom rlang .data
#' @importFrom stats predict simulate
"_PACKAGE"
