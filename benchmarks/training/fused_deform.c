/* Modulated deformable convolution for training on one thread: sampling and sums in one pass.
 *
 * CHANNELS inputs and OUTPUTS outputs are fixed when compiled (multiples of 16: one register).
 * Layouts: x (batch, height, width, CHANNELS), offset (batch, 2 * taps, height, width) as y and x
 * of each tap, mask (batch, taps, height, width), weight (taps, CHANNELS, OUTPUTS),
 * out (batch, height, width, OUTPUTS). Pixels outside the map count as zero.
 */
#include <math.h>
#include <string.h>

typedef struct {
    long at[4];      /* index of each corner's first channel, or -1 outside */
    float share[4];  /* bilinear weight of each corner */
    float ly, lx;
} Spot;

static inline Spot spot(float y, float x, int height, int width) {
    Spot s;
    if (!(y > -1e4f && y < 1e4f)) y = -1e4f;
    if (!(x > -1e4f && x < 1e4f)) x = -1e4f;
    float fy = floorf(y), fx = floorf(x);
    int y0 = (int)fy, x0 = (int)fx;
    s.ly = y - fy;
    s.lx = x - fx;
    for (int i = 0; i < 4; i++) {
        int yy = y0 + (i >> 1), xx = x0 + (i & 1);
        int inside = yy >= 0 && yy < height && xx >= 0 && xx < width;
        s.at[i] = inside ? ((long)yy * width + xx) * CHANNELS : -1;
        s.share[i] = ((i >> 1) ? s.ly : 1 - s.ly) * ((i & 1) ? s.lx : 1 - s.lx);
    }
    return s;
}

void forward(const float *x, const float *offset, const float *mask, const float *weight,
             float *out, int batch, int height, int width, int kernel) {
    int taps = kernel * kernel, area = height * width, pad = kernel / 2;
    memset(out, 0, sizeof(float) * batch * area * OUTPUTS);
    for (int b = 0; b < batch; b++)
        for (int k = 0; k < taps; k++) {
            const float *xb = x + (long)b * area * CHANNELS, *w = weight + k * CHANNELS * OUTPUTS;
            const float *oy = offset + ((long)b * taps + k) * 2 * area, *ox = oy + area;
            const float *m = mask + ((long)b * taps + k) * area;
            for (int p = 0; p < area; p++) {
                Spot s = spot(p / width + k / kernel - pad + oy[p],
                              p % width + k % kernel - pad + ox[p], height, width);
                float v[CHANNELS] = {0};
                for (int i = 0; i < 4; i++)
                    if (s.at[i] >= 0) {
                        float share = s.share[i] * m[p];
                        for (int c = 0; c < CHANNELS; c++) v[c] += share * xb[s.at[i] + c];
                    }
                float *o = out + ((long)b * area + p) * OUTPUTS, sum[OUTPUTS];
                for (int j = 0; j < OUTPUTS; j++) sum[j] = o[j];
                for (int c = 0; c < USED; c++)
                    for (int j = 0; j < OUTPUTS; j++) sum[j] += v[c] * w[c * OUTPUTS + j];
                for (int j = 0; j < OUTPUTS; j++) o[j] = sum[j];
            }
        }
}

/* `turned` is weight with its last two axes exchanged: (taps, OUTPUTS, CHANNELS). */
void backward(const float *x, const float *offset, const float *mask, const float *turned,
              const float *grad, float *grad_x, float *grad_offset, float *grad_mask,
              float *grad_weight, int batch, int height, int width, int kernel) {
    int taps = kernel * kernel, area = height * width, pad = kernel / 2;
    memset(grad_x, 0, sizeof(float) * batch * area * CHANNELS);
    memset(grad_weight, 0, sizeof(float) * taps * CHANNELS * OUTPUTS);
    for (int b = 0; b < batch; b++)
        for (int k = 0; k < taps; k++) {
            const float *xb = x + (long)b * area * CHANNELS, *w = turned + k * CHANNELS * OUTPUTS;
            float *gx = grad_x + (long)b * area * CHANNELS;
            float *gw = grad_weight + k * CHANNELS * OUTPUTS;
            long at = ((long)b * taps + k) * area;
            const float *oy = offset + 2 * at, *ox = oy + area;
            for (int p = 0; p < area; p++) {
                const float *g = grad + ((long)b * area + p) * OUTPUTS;
                Spot s = spot(p / width + k / kernel - pad + oy[p],
                              p % width + k % kernel - pad + ox[p], height, width);
                float m = mask[at + p], gv[CHANNELS] = {0};
                for (int j = 0; j < OUTPUTS; j++)
                    for (int c = 0; c < CHANNELS; c++) gv[c] += g[j] * w[j * CHANNELS + c];
                float dot[4] = {0}, v[CHANNELS] = {0};
                for (int i = 0; i < 4; i++)
                    if (s.at[i] >= 0) {
                        const float *xi = xb + s.at[i];
                        float *gi = gx + s.at[i], share = s.share[i], both = share * m, sum = 0;
                        for (int c = 0; c < CHANNELS; c++) {
                            v[c] += share * xi[c];
                            gi[c] += both * gv[c];
                            sum += gv[c] * xi[c];
                        }
                        dot[i] = sum;
                    }
                float gm = 0;
                for (int i = 0; i < 4; i++) gm += s.share[i] * dot[i];
                grad_mask[at + p] = gm;
                grad_offset[2 * at + p] =
                    m * ((dot[2] - dot[0]) * (1 - s.lx) + (dot[3] - dot[1]) * s.lx);
                grad_offset[2 * at + area + p] =
                    m * ((dot[1] - dot[0]) * (1 - s.ly) + (dot[3] - dot[2]) * s.ly);
                for (int c = 0; c < USED; c++) {
                    float vm = v[c] * m;
                    for (int j = 0; j < OUTPUTS; j++) gw[c * OUTPUTS + j] += vm * g[j];
                }
            }
        }
}
