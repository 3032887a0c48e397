#' Record a luz training
#'
#' A callback for luz's `fit()` that records its first steps, as [record()] does.
#'
#' @param folder Where to write the trace; a folder that is new or empty.
#' @param ... Further arguments of [record()], such as `steps`.
#' @returns A luz callback.
#' @seealso [record()]
#' @export
#' @examples
#' \dontrun{
#' fitted <- net |>
#'   luz::setup(loss = torch::nn_mse_loss(), optimizer = torch::optim_adam) |>
#'   luz::fit(data, epochs = 1, callbacks = list(luz_callback_record("r")))
#' }
luz_callback_record <- function(folder, ...) {
  call <- rlang::current_env()
  check_torch(call)
  if (!nzchar(system.file(package = "luz"))) {
    abort(c("The R package luz is not installed.",
            "i" = "Use {.code install.packages(\"luz\")}."), call)
  }
  settings <- recording_settings(..., call = call)
  begin <- function(context) {
    optimisers <- unname(as.list(context$optimizers))
    recording <- start_recording(context$model, optimisers, folder, settings, call = NULL)
    context$model <- recording$models[[1L]]
  }
  generator <- luz::luz_callback("record_callback", on_fit_begin = function() begin(callback$ctx))
  callback <- generator()
}
