# Training as R sees it: Python trains in a thread; four times a second R shows its progress and
# checks for Ctrl-C. Where there are callbacks, Python asks after a step, and waits for the answer.

pause <- 0.25                                                      # seconds

train_network <- function(request, progress, call) {
  run <- python(call)$Training(request$x, request$labels, request$settings, request$further)
  on.exit(run$stop())                                              # whatever happens here
  about <- answer(run$start(), call)
  progress(c(list(event = "start"), about))
  tryCatch(
    repeat {
      # older versions of reticulate pass Ctrl-C to Python in a function of R: an interrupt in the
      # middle of that would end Python's own handling, and R with it
      now <- suspendInterrupts(run$advance(pause))
      Sys.sleep(0.001)                                             # R checks for Ctrl-C here
      now <- answer(now, call)
      progress(list(event = "step", step = now$step, lines = as.list(now$lines)))
      if (!is.null(now$question)) {
        go_on <- !isFALSE(progress(c(list(event = "ask"), now$question)))
        suspendInterrupts(run$reply(go_on))
      }
      if (now$done) break
    },
    interrupt = function(condition) NULL,
    python.builtin.KeyboardInterrupt = function(condition) NULL)
  result <- suspendInterrupts(answer(run$finish(), call))
  progress(list(event = "end", ended = result$ended, steps = about$steps,
                step = result$losses$dim[[1L]]))
  result
}

# Shows the progress of `train_network`: a bar, and a line for each epoch. Notes on the data and
# interruptions are always shown.
training_progress <- function(verbose, env = parent.frame()) {
  bar <- NULL
  function(report) {
    for (note in report$notes) cli::cli_alert_warning("{note}")
    if (report$event == "end") {
      if (!is.null(bar)) cli::cli_progress_done(id = bar, .envir = env)
      if (report$ended == "interrupted") {
        cli::cli_alert_warning(paste("Interrupted after step {report$step} of {report$steps}: the",
                                     "fit holds the training up to this step."))
      } else if (verbose && report$ended != "complete") {
        why <- c(early = "No better validation", callback = "Ended by a callback")[[report$ended]]
        cli::cli_alert_info("{why}: step {report$step} of {report$steps} was the last.")
      }
    } else if (verbose && report$event == "start") {
      images <- counted(report$images, "image")
      steps <- counted(report$steps, "step")
      held_out <- if (report$held_out > 0) paste0(", ", thousands(report$held_out), " held out")
      done <- if (report$done > 0) paste0(", ", thousands(report$done), " of them done")
      cli::cli_alert_info(paste("{report$title} on {images} ({report$data}{held_out}), {steps} of",
                                "{report$batch_size}{done}, {report$device}: {report$formula}"))
      bar <<- cli::cli_progress_bar(
        total = report$steps, clear = TRUE, auto_terminate = FALSE, .auto_close = FALSE,
        .envir = env, format = paste("{cli::pb_bar} step {cli::pb_current} of {cli::pb_total}",
                                     "| {cli::pb_eta_str}"))
    } else if (verbose) {
      for (line in report$lines) cli::cli_alert_success("{line}")
      cli::cli_progress_update(set = report$step, id = bar, .envir = env)
    }
  }
}
