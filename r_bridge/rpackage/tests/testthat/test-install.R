plan <- function(source, method = "virtualenv") install_plan(source, method, "r-pyvae", NULL)

project <- function() {
  folder <- tempfile("project")
  dir.create(folder)
  file.create(file.path(folder, "pyproject.toml"))
  folder
}

test_that("a folder, a wheel and a requirement are what pip is told", {
  folder <- project()
  expect_equal(plan(folder)$requirements, c(normalizePath(folder), rpy2_requirements()))
  expect_equal(plan("pyvae>=0.1")$requirements[[1L]], "pyvae>=0.1")
  expect_equal(plan("pyvae")$envname, "r-pyvae")
  address <- "pyvae @ https://example.org/pyvae-0.1.0-py3-none-any.whl"
  expect_equal(plan(address)$requirements[[1L]], address)
})

test_that("py_require() is taken where this reticulate has it", {
  newer <- "py_require" %in% getNamespaceExports("reticulate")
  expect_equal(plan("pyvae", "auto")$method, if (newer) "py_require" else "virtualenv")
  if (!newer) {
    expect_match(refusal(install_pyvae(project(), method = "py_require")), "1.41 or newer")
  } else {
    folder <- project()
    expect_equal(plan(folder, "py_require")$requirements[[1L]],
                 paste0("pyvae @ file://", normalizePath(folder)))
  }
})

test_that("what cannot be installed is one message, before anything is made", {
  expect_match(refusal(install_pyvae(3)), "source.*folder, a wheel or a requirement")
  expect_match(refusal(install_pyvae("no/such/folder")), "There is no .*no/such/folder")
  empty <- tempfile()
  dir.create(empty)
  expect_match(refusal(install_pyvae(empty)), "has no .*pyproject.toml")
  expect_match(refusal(install_pyvae(project(), "virtualenv", python = tempfile())), "does not")
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
