plan <- function(source, method = "virtualenv") install_plan(source, method, "r-pyvae", NULL)

project <- function() {
  folder <- tempfile("project")
  dir.create(folder)
  file.create(file.path(folder, "pyproject.toml"))
  folder
}

test_that("a folder, a wheel and a URL are what pip is told", {
  folder <- project()
  expect_equal(plan(folder)$requirements, c(normalizePath(folder), rpy2_requirements()))
  expect_equal(plan(folder)$envname, "r-pyvae")
  address <- "git+https://example.org/pyvae.git@v1"
  expect_equal(plan(address)$requirements[[1L]], address)
  address <- "https://example.org/port_parity-0.2.0-py3-none-any.whl"
  for (named in c("port-parity @", "pyvae @ ")) {
    expect_equal(plan(paste0(named, address))$requirements[[1L]], address)
  }
})

test_that("py_require() is taken where this reticulate has it", {
  newer <- "py_require" %in% getNamespaceExports("reticulate")
  expect_equal(plan(project(), "auto")$method, if (newer) "py_require" else "virtualenv")
  if (!newer) {
    expect_match(refusal(install_pyvae(project(), method = "py_require")), "1.41 or newer")
  } else {
    folder <- project()
    expect_equal(plan(folder, "py_require")$requirements[[1L]],
                 paste0("port-parity @ file://", normalizePath(folder)))
  }
})

test_that("pip runs with the library paths that the user has outside of R", {
  before <- Sys.getenv("LD_LIBRARY_PATH", NA)
  on.exit(if (is.na(before)) Sys.unsetenv("LD_LIBRARY_PATH") else Sys.setenv(LD_LIBRARY_PATH = before))
  with_r <- paste0(R.home("lib"), ":/nowhere")
  Sys.setenv(LD_LIBRARY_PATH = with_r)
  expect_equal(with_user_library_paths(system2("sh", c("-c", shQuote("echo $LD_LIBRARY_PATH")),
                                               stdout = TRUE)), "/nowhere")
  expect_error(with_user_library_paths(stop("no pip")), "no pip")
  expect_equal(Sys.getenv("LD_LIBRARY_PATH"), with_r)
  Sys.unsetenv("LD_LIBRARY_PATH")
  expect_equal(with_user_library_paths(3), 3)
})

test_that("what cannot be installed is one message, before anything is made", {
  expect_match(refusal(install_pyvae(3)), "source.*folder, a wheel or a URL")
  expect_match(refusal(install_pyvae("no/such/folder")), "There is no .*no/such/folder")
  empty <- tempfile()
  dir.create(empty)
  expect_match(refusal(install_pyvae(empty)), "has no .*pyproject.toml")
  expect_match(refusal(install_pyvae(project(), "virtualenv", python = tempfile())), "does not run")
})

test_that("nothing is taken from an index: the name there is another project's", {
  old <- options(pyvae.source = NULL)
  on.exit(options(old))
  for (name in c("pyvae>=0.1", "pyvae [cluster]", "PyVAE-x", "port-parity", "port-parity-x")) {
    expect_error(install_pyvae(name), class = "pyvae_error", info = name)
  }
  expect_match(refusal(install_plan("pyvae==1.1.0", "virtualenv", "e", NULL)), "another project's")
  expect_match(refusal(install_plan("port-parity[keras]", "virtualenv", "e", NULL)), "is not on PyPI")
  said <- refusal(install_plan(NULL, "virtualenv", "e", NULL))
  expect_match(said, "source.* is missing.*another project.*install_pyvae\\(\"path/to/the/folder\"")
})

test_that("the folder that the package was installed from is the default, while it is there", {
  folder <- project()
  package <- file.path(folder, "r_bridge", "rpackage")
  dir.create(package, recursive = TRUE)
  expect_false(is_project(folder))
  writeLines("Package: pyvae", file.path(package, "DESCRIPTION"))
  expect_true(is_project(folder))
  old <- options(pyvae.source = folder)
  on.exit(options(old))
  expect_equal(how_to_install(), "run `install_pyvae()`")
  options(pyvae.source = NULL)
  expect_true(is.null(installed_from) || is_project(installed_from))
  expect_identical(source_folder(), installed_from)
})

test_that("an environment that could not be filled is removed, and only if it was made here", {
  skip_without_python()
  # environments of this Python have no pip
  python <- make_python(c(
    "import sys", "if 'venv' in sys.orig_argv: sys.argv.append('--without-pip')"))
  home <- tempfile("home")
  theirs <- file.path(home, "theirs")
  dir.create(theirs, recursive = TRUE)
  file.create(file.path(theirs, "notes.txt"))
  # as by default, where the folder of all environments is "~/.virtualenvs"
  said <- in_new_session(function(project, python) {
    lapply(c("r-pyvae", "theirs"), function(name) {
      tryCatch(pyvae::install_pyvae(project, "virtualenv", name, python), error = conditionMessage)
    })
  }, list(project(), python), c(HOME = dirname(home), WORKON_HOME = file.path("~", basename(home)), PIP_NO_INDEX = "1"))
  expect_match(in_one_line(said[[1L]]),
               "could not be installed into \"r-pyvae\".*pip can install")
  expect_match(in_one_line(said[[2L]]), "could not be installed into \"theirs\"")
  expect_identical(list.files(home, all.files = TRUE, no.. = TRUE), "theirs")
  expect_true(file.exists(file.path(theirs, "notes.txt")))
})

test_that("the rpy2 that fits an R is the one that pyvae names", {
  skip_without_python()
  python()
  named <- reticulate::import("r_bridge.rpy2_fit")$requirements
  for (r in c("4.0.0", "4.4.3", "4.5.0", "5.0.0")) {
    version <- numeric_version(r)
    parts <- reticulate::tuple(as.list(unlist(version)))
    expect_equal(rpy2_requirements(version), as.character(unlist(named(parts))), info = r)
  }
})
