# Two scores of patients with several images, by R: Obuchowski's variance in plain loops (1997, Biometrics 53:567), pROC's
# DeLong variances where each patient has one image, and the limits of the difference over the ellipse of both logits. Writes clustered.csv (read again before anything is computed) and clustered.json.
#   Rscript clustered.R     (R 4.2, pROC 1.18, jsonlite)
suppressMessages({library(pROC); library(jsonlite)})
set.seed(20261129)

make <- function(name, held, both = FALSE, digits = 6, gap = NULL) {
  patient <- rep(seq_along(held), held)
  label <- if (both) rbinom(length(patient), 1, 0.5) else patient %% 2
  of_patient <- rnorm(length(held))[patient]
  score <- function(skill) round(plogis(skill * (label - 0.5) + 0.8 * of_patient + 0.8 * rnorm(length(patient))), digits)
  a <- score(1.4); b <- score(1.8)
  if (!is.null(gap)) a <- ifelse(label == 1, 0.6 + 0.3 * a, 0.4 * a)
  data.frame(case = name, patient = paste0("P", patient), label = label, a = round(a, digits), b = b)
}
cases <- rbind(
  make("one_each", rep(1, 60)), make("four_each", rep(4, 40)), make("one_to_four", rep(1:4, 12)),
  make("both_classes", rep(3, 30), both = TRUE), make("ties", rep(2, 40), digits = 1),
  make("separated", rep(2, 30), gap = TRUE), make("copies", rep(1, 30))[rep(1:30, each = 8), ])
write.csv(cases, "clustered.csv", row.names = FALSE, quote = FALSE)
cases <- read.csv("clustered.csv")

obuchowski <- function(d) {
  pos <- d[d$label == 1, ]; neg <- d[d$label == 0, ]
  m <- nrow(pos); n <- nrow(neg); patients <- unique(d$patient)
  kernel <- function(x, y) (x > y) + 0.5 * (x == y)
  of <- function(s) {
    v10 <- sapply(pos[[s]], function(x) mean(kernel(x, neg[[s]])))
    v01 <- sapply(neg[[s]], function(y) mean(kernel(pos[[s]], y)))
    auc <- mean(v10)
    list(auc = auc, x = sapply(patients, function(p) sum(v10[pos$patient == p] - auc)),
         y = sapply(patients, function(p) sum(v01[neg$patient == p] - auc)))
  }
  i10 <- length(unique(pos$patient)); i01 <- length(unique(neg$patient)); all <- length(patients)
  cv <- function(u, w) {
    s10 <- i10 / ((i10 - 1) * m) * sum(u$x * w$x); s01 <- i01 / ((i01 - 1) * n) * sum(u$y * w$y)
    s11 <- all / (all - 1) * (sum(u$x * w$y) + sum(u$y * w$x))
    s10 / m + s01 / n + s11 / (m * n)
  }
  a <- of("a"); b <- of("b")
  list(auc_a = a$auc, auc_b = b$auc, var_a = cv(a, a), var_b = cv(b, b), cov = cv(a, b), patients_pos = i10, patients_neg = i01)
}

limits <- function(auc, v, m, n, z) {
  if (auc > 0 && auc < 1) return(plogis(qlogis(auc) + c(-1, 1) * z * sqrt(v) / (auc * (1 - auc))))
  half <- (m + n) / 2 - 1                                   # Newcombe 2006, method 5, at an AUC of 1
  f <- function(t) (1 - t) - z^2 * t * (1 + half * (1 - t) / (2 - t) + half * t / (1 + t)) / (m * n)
  c(uniroot(f, c(0, 1), tol = 1e-15)$root, 1)
}
limit <- function(o, z) {
  if (o$var_a > 0 && o$var_b > 0) {
    r <- o$cov / sqrt(o$var_a * o$var_b); s <- if (z >= 0) 1 else -1
    f <- function(t) {
      x <- cos(t); y <- r * cos(t) + sqrt(1 - r^2) * sin(t)
      plogis(qlogis(o$auc_a) + abs(z) * sqrt(o$var_a) / (o$auc_a * (1 - o$auc_a)) * x) -
        plogis(qlogis(o$auc_b) + abs(z) * sqrt(o$var_b) / (o$auc_b * (1 - o$auc_b)) * y)
    }
    t <- seq(0, 2 * pi, length.out = 2001); best <- t[which.min(s * f(t))]
    return(f(optimize(function(t) s * f(t), best + c(-0.004, 0.004), tol = 1e-12)$minimum))
  }
  l <- limits(o$auc_a, o$var_a, o$patients_pos, o$patients_neg, abs(z))
  k <- limits(o$auc_b, o$var_b, o$patients_pos, o$patients_neg, abs(z))
  own <- if (z >= 0) o$auc_a - l[1] else l[2] - o$auc_a
  other <- if (z >= 0) k[2] - o$auc_b else o$auc_b - k[1]
  o$auc_a - o$auc_b - sign(z) * sqrt(own^2 + other^2)
}

found <- lapply(split(cases, factor(cases$case, unique(cases$case))), function(d) {
  o <- obuchowski(d)
  o$lower <- limit(o, qnorm(0.975)); o$upper <- limit(o, -qnorm(0.975))
  o$p <- pnorm(-uniroot(function(z) limit(o, z) + 0.05, c(-6, 6), tol = 1e-14)$root)
  if (!any(duplicated(d$patient))) {
    r <- lapply(c(a = "a", b = "b"), function(s) roc(d$label, d[[s]], levels = c(0, 1), direction = "<", quiet = TRUE))
    o$delong <- list(var_a = pROC::var(r$a), var_b = pROC::var(r$b), cov = pROC::cov(r$a, r$b))
  }
  o
})
write_json(found, "clustered.json", auto_unbox = TRUE, digits = NA, pretty = TRUE)
