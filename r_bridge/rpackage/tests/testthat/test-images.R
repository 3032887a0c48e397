rows <- function(x) unpack(read_images(x))

test_that("an array of images becomes rows, pixel by pixel along the rows of the image", {
  x <- array(0, c(2, 28, 28))
  x[2, 3, 5] <- 1                                                  # image 2, row 3, column 5
  expected <- matrix(0, 2, 784)
  expected[2, 2 * 28 + 5] <- 1
  expect_identical(rows(x), expected)
  expect_identical(as_image_array(rows(x)), x)
})

test_that("whole numbers up to 255 travel as bytes, others as numbers from 0 to 1", {
  x <- matrix(0, 3, 784)
  x[2, 7] <- 255
  expect_identical(rows(x), array(as.raw(x), dim(x)))
  expect_identical(rows(array(as.raw(x), dim(x))), array(as.raw(x), dim(x)))
  storage.mode(x) <- "integer"
  expect_identical(rows(x), array(as.raw(x), dim(x)))
  x[1, 1] <- 0.5
  expect_identical(rows(x), x / 255)
  expect_identical(rows(x / 255), x / 255)
  x[x > 1] <- 1L                                                   # binary images are from 0 to 1
  expect_identical(rows(x), x)
})

test_that("points are as they are", {
  x <- matrix(c(-3, 300, 0.5, 2), 2)
  expect_identical(rows(x), x)
})

test_that("NA, NaN, infinite and out of range numbers are refused with their position", {
  x <- matrix(0, 3, 784)
  bad <- function(value) {
    x[2, 17] <- value
    refusal(vae_fit(x))
  }
  expect_match(bad(NA), "x\\[2, 17\\].* is NA\\.")
  expect_match(bad(NaN), "x\\[2, 17\\].* is NaN\\.")
  expect_match(bad(Inf), "x\\[2, 17\\].* is Inf\\.")
  expect_match(bad(256), "from 0 to 1, or from 0 to 255.*x\\[2, 17\\].* is 256\\.")
  expect_match(bad(-0.001), "x\\[2, 17\\].* is -0.001\\.")
  x <- array(0L, c(3, 28, 28))
  x[3, 1, 17] <- NA
  x[3, 28, 28] <- NA
  expect_match(refusal(vae_fit(x)), "x\\[3, 1, 17\\].* is NA, and 1 more")
  expect_match(refusal(vae_fit(matrix(c(1, NA, 2, 3), 2))), "x\\[2, 1\\].* is NA")
})

test_that("what is no images is one message that says what it is and what to do", {
  expect_match(refusal(vae_fit(list(1, 2))), "It is a list of 2.*do.call\\(rbind")
  expect_match(refusal(vae_fit(data.frame(a = 1:3))), "data frame of 3 x 1.*as.matrix")
  expect_match(refusal(vae_fit(factor(1:3))), "factor with 3 levels.*as.character")
  expect_match(refusal(vae_fit(matrix("a", 2, 784))), "matrix of 2 x 784")
  expect_match(refusal(vae_fit(matrix(0, 3, 783))), "784 columns.*matrix of 3 x 783")
  expect_match(refusal(vae_fit(matrix(0, 784, 3))), "Images are rows.*t\\(x\\)")
  expect_match(refusal(vae_fit(matrix(0, 28, 28))), "array\\(x, c\\(1, 28, 28\\)\\)")
  expect_match(refusal(vae_fit(array(0, c(28, 28, 3)))), "array of 28 x 28 x 3")
  expect_match(refusal(vae_fit(1:784)), "integer vector of length 784")
  expect_match(refusal(vae_fit(NULL)), "It is NULL")
  expect_match(refusal(vae_fit(matrix(0, 0, 784))), "no rows")
  expect_match(refusal(vae_fit(mean)), "It is a function")
  expect_match(refusal(vae_fit(c("a", "b"))), "one path")
})

test_that("paths: IDX files as MNIST has them, .rds, and what cannot be read", {
  folder <- tempfile()
  dir.create(file.path(folder, "MNIST", "raw"), recursive = TRUE)
  images <- array(sample(0:255, 5 * 784, TRUE), c(5, 28, 28))
  file <- file.path(folder, "MNIST", "raw", "train-images-idx3-ubyte")
  writeBin(c(as.raw(c(0, 0, 8, 3)), writeBin(c(5L, 28L, 28L), raw(), endian = "big"),
             as.raw(aperm(images, 3:1))), file)                    # row by row of each image
  expected <- rows(images)
  expect_identical(rows(folder), expected)
  expect_identical(rows(file), expected)
  saved <- tempfile(fileext = ".rds")
  saveRDS(images, saved)
  expect_identical(rows(saved), expected)
  expect_match(refusal(vae_fit(file.path(folder, "none"))), "There is no file or folder")
  expect_match(refusal(vae_fit(dirname(folder))), "cannot be read.*train-images-idx3-ubyte")
  writeBin(raw(9), file)
  expect_match(refusal(vae_fit(file)), "does not begin as an IDX file")
  writeLines("no rds", saved)
  expect_match(refusal(vae_fit(saved)), "cannot be read")
})
