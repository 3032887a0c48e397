test_that("two programs are compared, and where they part is said", {
  skip_without_python()
  a <- write_program_example()
  example <- program_example()$steps[[1L]]
  wrong <- example$parameter
  wrong$fc.weight <- wrong$fc.weight * 1.01
  b <- write_program_example(steps = with_step(parameter = wrong))
  same <- compare_traces(read_program_trace(a), a)
  expect_s3_class(same, "pyvae_port_comparison")
  expect_identical(same$verdict, "agree")
  expect_null(same$first_part)
  expect_true(all(same$quantities$verdict == "equal"))
  both <- c("adam-eps", "running-variance")
  expect_identical(compare_traces(a, a, accept = both)$words, same$words)
  expect_output(print(same), "14 quantities: 14 equal in every bit.*verdict: equal: every bit")

  found <- compare_traces(a, b, names = same$names)
  expect_identical(found$verdict, "part")
  expect_identical(found$first_part$place, paste(
    "step 1, optimizer (sgd), update of fc.weight (parameter)"))
  expect_identical(found$first_part$wrong, b)
  expect_output(print(found), "first part at step 1.*does not return what it should.*verdict: part")
  expect_identical(as.data.frame(found), found$quantities)
  expect_identical(sum(found$quantities$verdict == "parted"), 1L)
  expect_identical(found$quantities$a[found$quantities$verdict == "parted"],
                   "parameter/fc.weight")
})

test_that("what is wrong with the arguments is one message", {
  a <- write_program_example()
  expect_match(refusal(compare_traces(a, tempfile())), "b.* must be the folder of a trace")
  expect_match(refusal(compare_traces(a, a, names = 3)), "names.* must be a data frame")
  expect_match(refusal(compare_traces(a, a, accept = 3)), "accept.* must be names of differences")
  expect_match(refusal(compare_traces(a, a, names = tempfile())),
               "names.* must be a CSV file.*There is no file")
  expect_match(refusal(compare_traces(a, a, names = file.path(a, "trace.json"))),
               "names.* must be a CSV file.*It is ")
  expect_match(refusal(compare_traces(a, a, folder = a)), "folder.* must not be the folder of a")
  skip_without_python()
  expect_match(refusal(compare_traces(a, a, names = data.frame(a = "q", b = "fc"))),
               "The comparison failed.*q")
  expect_match(refusal(compare_traces(a, a, accept = "eps")), "'eps' is no difference of two libr")
})
